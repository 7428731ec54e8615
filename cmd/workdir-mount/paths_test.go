package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/workdir/workdir/mount"
)

// Paths go from process to process in JSON, where those that are not UTF-8 were mangled.
func TestPathsThatAreNotUTF8(t *testing.T) {
	top := t.TempDir()
	run, spill, dir, store := top+"/run\xff", top+"/spill\xff", top+"/dir\xff\u202e", top+"/store"
	for _, d := range []string{spill, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("workdir-mount", append([]string{"--run-dir", run}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			var stderr []byte
			if exit, ok := err.(*exec.ExitError); ok {
				stderr = exit.Stderr
			}
			t.Fatalf("%q: %v: %s", args, err, stderr)
		}
		return string(out)
	}
	for _, plain := range []bool{false, true} {
		url := filepath.Join(store, map[bool]string{false: "mount", true: "plain"}[plain])
		flags := []string{"--spill", spill}
		if plain {
			flags = append(flags, "--plain")
		}
		command(append(append([]string{"exec"}, flags...), url, "--", "sh", "-c", `cd "$WORKDIR"; echo content >file`)...)
		command(append(append([]string{"mount"}, flags...), url, dir)...)
		if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "content\n" {
			t.Errorf("plain %v: the file has %q, %v", plain, got, err)
		}
		var one mount.Status
		if err := json.Unmarshal([]byte(command("status", "--json", dir)), &one); err != nil || one.Path != dir {
			t.Errorf("plain %v: status has the path %q, %v; want %q", plain, one.Path, err, dir)
		}
		var all []mount.Status
		if err := json.Unmarshal([]byte(command("status", "--json")), &all); err != nil || len(all) != 1 || all[0].Path != dir {
			t.Errorf("plain %v: status has %+v, %v", plain, all, err)
		}
		command("commit", dir)
		command("umount", dir)
	}
	if left, err := os.ReadDir(spill); err != nil || len(left) > 0 {
		t.Errorf("left in the spill directory: %v, %v", left, err)
	}
	if left := mountsBelow(top); len(left) > 0 {
		t.Errorf("still mounted: %q", left)
	}
}
