package mount_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// A workspace is opened, worked in by any tool, marked, and stored by Close. The next
// one who opens it, on whatever machine, finds what was stored.
func Example() {
	mount.Init() // the first line of main
	ctx := context.Background()

	ws, err := mount.Open(ctx, "mem://example/job-1", nil)
	if err != nil {
		log.Fatal(err)
	}
	err = mount.Command(ctx, ws, "sh", "-c", "echo built >report").Run()
	if err == nil {
		err = ws.Commit() // marks; without it Close stores nothing
	}
	if err != nil {
		log.Print(err)
	}
	result, err := ws.Close(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored:", result.Stored)

	again, err := mount.Open(ctx, "mem://example/job-1", &mount.Options{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close(ctx)
	report, err := os.ReadFile(again.Path("report"))
	fmt.Printf("%s%v\n", report, err)
	// Output:
	// stored: true
	// built
	// <nil>
}

// A read-only workspace must exist, so that a typing error is not an empty directory.
func ExamplePresence() {
	ctx := context.Background()
	_, err := mount.Open(ctx, "mem://example/confg", &mount.Options{ReadOnly: true})
	fmt.Println(errors.Is(err, store.ErrNotExist))

	ws, err := mount.Open(ctx, "mem://example/confg", &mount.Options{ReadOnly: true, Presence: mount.MayBeAbsent})
	if err != nil {
		log.Fatal(err)
	}
	defer ws.Close(ctx)
	entries, err := os.ReadDir(ws.Path())
	fmt.Println(len(entries), err)
	// Output:
	// true
	// 0 <nil>
}

// Of two who change a workspace at the same time one stores it; the other one gets a
// conflict that names the first, and stores nothing.
func ExampleMount_Close() {
	ctx := context.Background()
	open := func() *mount.Mount {
		ws, err := mount.Open(ctx, "mem://example/shared", nil)
		if err != nil {
			log.Fatal(err)
		}
		return ws
	}
	finish := func(ws *mount.Mount, name string) error {
		err := os.WriteFile(ws.Path(name), nil, 0o644)
		if err == nil {
			err = ws.Commit()
		}
		_, closeErr := ws.Close(ctx)
		return errors.Join(err, closeErr)
	}
	slow, fast := open(), open()
	fmt.Println("fast:", finish(fast, "from-fast"))

	err := finish(slow, "from-slow")
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println("slow: a conflict,", conflict.Between[0].Changed.Created, "file came in between")
	}
	// Output:
	// fast: <nil>
	// slow: a conflict, 1 file came in between
}

// Where FUSE is forbidden, or a test needs no mount, a plain directory has the
// workspace: same marks, same conditions, same log.
func ExampleOptions_plain() {
	ctx := context.Background()
	ws, err := mount.Open(ctx, "mem://example/plain", &mount.Options{Plain: true})
	if err != nil {
		log.Fatal(err)
	}
	err = os.WriteFile(ws.Path("file"), []byte("content"), 0o644)
	if err == nil {
		err = ws.Commit()
	}
	result, closeErr := ws.Close(ctx)
	fmt.Println(result.Changes.Created, errors.Join(err, closeErr))
	// Output:
	// 1 <nil>
}
