package workspace_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/workdir/workdir/workspace"
)

// directory makes a directory with one file.
func directory(name, content string) string {
	dir, err := os.MkdirTemp("", "example-")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// A directory becomes a workspace, and a workspace a directory, without a mount.
func Example() {
	ctx := context.Background()
	dir := directory("notes.txt", "hello\n")
	defer os.RemoveAll(dir)

	if _, err := workspace.Import(ctx, dir, "mem://example/notes", nil); err != nil {
		log.Fatal(err)
	}
	if _, err := workspace.Cat(ctx, "mem://example/notes", []string{"notes.txt"}, os.Stdout, nil); err != nil {
		log.Fatal(err)
	}
	out := filepath.Join(dir, "exported")
	exported, err := workspace.Export(ctx, "mem://example/notes", out, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(exported.Entries, "entry,", exported.Bytes, "bytes")
	// Output:
	// hello
	// 1 entry, 6 bytes
}

func ExampleDiff() {
	ctx := context.Background()
	before, after := directory("notes.txt", "hello\n"), directory("notes.txt", "hello, world\n")
	defer os.RemoveAll(before)
	defer os.RemoveAll(after)
	for url, dir := range map[string]string{"mem://example/before": before, "mem://example/after": after} {
		if _, err := workspace.Import(ctx, dir, url, nil); err != nil {
			log.Fatal(err)
		}
	}
	differences, err := workspace.Diff(ctx, "mem://example/before", "mem://example/after", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range differences {
		fmt.Println(d.Change, d.Path, d.What)
	}
	// Output:
	// changed notes.txt [size]
}

func ExampleLog() {
	ctx := context.Background()
	dir := directory("notes.txt", "hello\n")
	defer os.RemoveAll(dir)
	imported, err := workspace.Import(ctx, dir, "mem://example/logged", nil)
	if err != nil {
		log.Fatal(err)
	}
	commits, _, err := workspace.Log(ctx, "mem://example/logged")
	if err != nil {
		log.Fatal(err)
	}
	for c := range commits.All() {
		fmt.Println(c.ID == imported.CommitID, c.Changed.Created, "created")
	}
	// Output:
	// true 1 created
}

func ExampleVerify() {
	ctx := context.Background()
	dir := directory("notes.txt", "hello\n")
	defer os.RemoveAll(dir)
	if _, err := workspace.Import(ctx, dir, "mem://example/verified", nil); err != nil {
		log.Fatal(err)
	}
	report, err := workspace.Verify(ctx, "mem://example/verified", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Files, "file,", report.Bytes, "bytes, readable by temporal-workdir:", len(report.NotPortable) == 0)
	// Output:
	// 1 file, 6 bytes, readable by temporal-workdir: true
}
