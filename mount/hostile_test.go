package mount

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The path was checked and then opened again, so that who owned a directory above could
// have another directory's content removed.
func TestClearPlainStaysInItsDirectory(t *testing.T) {
	top := t.TempDir()
	mine, other := filepath.Join(top, "mine"), filepath.Join(top, "other")
	dir, kept := filepath.Join(mine, "ws"), filepath.Join("ws", "kept")
	for _, d := range []string{dir, filepath.Join(other, "ws")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, kept), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := dirIDOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := overAndOver(func() {
		_ = unix.Renameat2(unix.AT_FDCWD, mine, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
	})
	for range 500 {
		_ = clearPlain(dir, false, id) // refused where it is the other one
	}
	stop()
	for _, d := range []string{mine, other} {
		if _, err := os.Stat(filepath.Join(d, kept)); err == nil {
			return
		}
	}
	t.Error("the content of another directory was removed")
}

// Somebody else's symbolic link in a directory where all may write was followed.
func TestRunDirFollowsNoLinkOfOthers(t *testing.T) {
	const nobody = 65534
	top := t.TempDir()
	target := filepath.Join(top, "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	link := func(name, to string, uid int) string {
		path := filepath.Join(top, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours, theirs := link("ours", "target", os.Geteuid()), link("theirs", target, nobody)
	tests := []struct{ name, dir, want string }{
		{"new", filepath.Join(top, "a/b/../c"), filepath.Join(top, "a/c")},
		{"own link", ours, target},
		{"through an own link", filepath.Join(ours, "run"), filepath.Join(target, "run")},
		{"link to a link", link("double", "./ours", os.Geteuid()), target},
		{"another user's link", theirs, ""},
		{"through another user's link", filepath.Join(theirs, "more"), ""},
		{"own link to another user's", link("indirect", "theirs/x", os.Geteuid()), ""},
		{"a loop", link("loop", "loop", os.Geteuid()), ""},
		{"a file", "/dev/null", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ensureRunDir(tt.dir)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("ensureRunDir(%s) = %q, %v; want %q", tt.dir, got, err, tt.want)
			}
			if err != nil && !errors.Is(err, ErrCannotMount) {
				t.Errorf("%v is not ErrCannotMount", err)
			}
		})
	}
	left, err := os.ReadDir(target)
	if err != nil || len(left) != 1 {
		t.Errorf("in the target of the links: %v, %v; want run alone", left, err)
	}
}
