package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A symbolic link that another user made in a world-writable directory was followed.
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
			got, err := EnsureRunDir(tt.dir)
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

// In /tmp anybody can make the directory that would be another user's run directory. Its
// records must not be believed: commands once reported that they had marked a mount.
func TestRunDirsOfOthersAreNotAsked(t *testing.T) {
	mine, theirs, link := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "link")
	const user, other = 1000, 1001
	if err := errors.Join(os.Chown(mine, user, user), os.Chown(theirs, other, other), os.Symlink(mine, link)); err != nil {
		t.Fatal(err)
	}
	all := []string{theirs, mine, link, filepath.Join(mine, "none")}
	if got := OwnedBy(user, all); !slices.Equal(got, []string{mine}) {
		t.Errorf("of %q those of user %d are %q", all, user, got)
	}
}
