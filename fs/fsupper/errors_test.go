package fsupper

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// inUpper returns the path of a name in upper, by descriptor.
func (o *overlay) inUpper(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", o.upper, name)
}

func (o *overlay) inIndex(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", o.index, name)
}

// mark sets one of the overlay's own attributes of a name in upper.
func (o *overlay) mark(name, key, value string) {
	o.tb.Helper()
	must(o.tb, unix.Lsetxattr(o.inUpper(name), ownPrefix+key, []byte(value), 0))
}

func matches(want string, err error) bool {
	return err != nil && regexp.MustCompile(want).MatchString(err.Error())
}

// handle returns an origin that names a node.
func handle(node uint32) string {
	h := make([]byte, handleHeader+fuseFID)
	h[1], h[2], h[4] = handleMagic, byte(len(h)), handleFUSE
	binary.NativeEndian.PutUint32(h[handleHeader+4:], node)
	return string(h)
}

// TestTampered changes upper behind the overlay's back. The error names the path. Count
// returns no error, since it may run at any moment.
func TestTampered(t *testing.T) {
	packed := pack(t, full)
	for _, c := range []struct {
		name string
		do   string // in the overlay
		then func(o *overlay)
		want string // in the error, after the path
	}{
		{"a redirect to nothing", "mv a z", func(o *overlay) { o.mark("z", "redirect", "/nothing") }, `"z": .* redirect "/nothing" leads to no directory`},
		{"a redirect to a file", "mv a z", func(o *overlay) { o.mark("z", "redirect", "f") }, `"z": .* leads to no directory`},
		{"a redirect out of a file", "mv a z", func(o *overlay) { o.mark("z", "redirect", "/f/x") }, `"z": .* leads to no directory`},
		{"a redirect up", "mv a z", func(o *overlay) { o.mark("z", "redirect", "/../a") }, `"z": .* leads to no directory`},
		{"a redirect to another directory", "mv a z", func(o *overlay) { o.mark("z", "redirect", "/d") }, `"z": .* its origin is inode`},
		{"an empty redirect", "mv a z", func(o *overlay) { o.mark("z", "redirect", "") }, `"z": .* empty redirect`},
		{"a redirect in a new directory", "mkdir -p n/m", func(o *overlay) { o.mark("n/m", "redirect", "a") }, `"n/m": .* leads to no directory`},
		{"a directory twice", "mkdir n; mv a z", func(o *overlay) {
			must(o.tb, unix.Lremovexattr(o.inUpper("n"), ownPrefix+"opaque"))
			o.mark("n", "redirect", "/a")
		}, `: .* shows the directory of lower that "[nz]" shows`},
		{"a directory in its own place too", "mv a z", func(o *overlay) { must(o.tb, unix.Unlink(o.inUpper("a"))) }, `"z": .* in its own place too`},
		{"a directory into itself", "mkdir n; chmod 700 a", func(o *overlay) {
			must(o.tb, unix.Lremovexattr(o.inUpper("n"), ownPrefix+"opaque"))
			o.mark("n", "redirect", "/a")
			must(o.tb, unix.Rename(o.inUpper("a"), o.inUpper("n/a")))
		}, `: .* tampered with`},
		{"an origin that is none", "chmod 700 f", func(o *overlay) { o.mark("f", "origin", handle(1000)) }, `"f": .* not in lower: inode 1000`},
		{"an origin of another kind", "chmod 700 f", func(o *overlay) { o.mark("f", "origin", handle(1)) }, `"f": .* of another kind`},
		{"an origin that is no handle", "chmod 700 f", func(o *overlay) { o.mark("f", "origin", "short") }, `"f": .* no handle of a FUSE mount`},
		{"an origin of another file system", "chmod 700 f", func(o *overlay) {
			h := []byte(handle(2))
			h[4] = 1
			o.mark("f", "origin", string(h))
		}, `"f": .* no handle of a FUSE mount`},
		{"an origin without a node", "chmod 700 f", func(o *overlay) { o.mark("f", "origin", handle(0)) }, `"f": .* without a node`},
		{"an origin of two files", "chmod 700 f; echo >new", func(o *overlay) {
			value := make([]byte, 100)
			n, err := unix.Lgetxattr(o.inUpper("f"), ownPrefix+"origin", value)
			must(o.tb, err)
			o.mark("new", "origin", string(value[:n]))
		}, `: .* another file stands for`},
		{"no origin of a metacopy", "chmod 700 f", func(o *overlay) {
			must(o.tb, unix.Lremovexattr(o.inUpper("f"), ownPrefix+"origin"))
		}, `"f": .* has no origin`},
		{"a redirect of a metacopy to nothing", "mv f g", func(o *overlay) { o.mark("g", "redirect", "/nothing") }, `"g": .* leads nowhere`},
		{"a redirect of a metacopy to another file", "mv f g", func(o *overlay) { o.mark("g", "redirect", "/a/f") }, `"g": .* leads to inode`},
		{"an index of no handle", "echo >>h1", func(o *overlay) {
			must(o.tb, os.WriteFile(o.inIndex("name"), nil, 0o600))
		}, `"index/name": .* no handle`},
		{"an index of another kind", "echo >>h1", func(o *overlay) {
			must(o.tb, os.WriteFile(o.inIndex(hex.EncodeToString([]byte(handle(1)))), nil, 0o600))
		}, `"index/.*": .* of another kind`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOverlay(t, packed)
			o.sh(c.do)
			o.unmount()
			c.then(o)
			o.count()
			err := Apply(t.Context(), o.tree, o.upper, o.index, o.options())
			if !errors.Is(err, ErrInconsistent) || !matches(c.want, err) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// A stale entry of the index stands for a file that has lost its last name.
func TestIndexOfNothing(t *testing.T) {
	o := newOverlay(t, pack(t, full))
	o.sh("rm f")
	o.unmount()
	must(t, os.WriteFile(o.inIndex(hex.EncodeToString([]byte(handle(1000)))), nil, 0o600))
	must(t, os.WriteFile(o.inIndex("#1f"), nil, 0o600))
	if c := o.apply(); c != (fs.Changes{Removed: 1}) {
		t.Errorf("changes = %+v", c)
	}
}

func TestPathThatIsTooLong(t *testing.T) {
	o := newOverlay(t, pack(t, small))
	dir := openAt(t, unix.AT_FDCWD, o.dir)
	for range 21 {
		name := strings.Repeat("d", 200)
		must(t, unix.Mkdirat(dir, name, 0o755))
		below := openAt(t, dir, name)
		must(t, unix.Close(dir))
		dir = below
	}
	must(t, unix.Close(dir))
	o.unmount()
	o.count()
	err := Apply(t.Context(), o.tree, o.upper, o.index, o.options())
	var long *fs.TooLongError
	if !errors.As(err, &long) || len(long.Path) != 4220 {
		t.Errorf("%v", err)
	}
}

func TestEndOfContext(t *testing.T) {
	o := newOverlay(t, pack(t, full))
	o.sh("rm -r a; echo >new")
	o.unmount()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if err := Apply(ctx, o.tree, o.upper, o.index, o.options()); !errors.Is(err, why) {
		t.Errorf("apply: %v", err)
	}
	if _, err := Count(ctx, o.tree, o.upper, o.index, nil); !errors.Is(err, why) {
		t.Errorf("count: %v", err)
	}
	if err := Apply(t.Context(), o.tree, o.upper, o.index, nil); err == nil {
		t.Error("without a backing directory: no error")
	}
}

// The tree may have less room than upper.
func TestFullTree(t *testing.T) {
	o := newOverlay(t, pack(t, small))
	img := o.tree.Image()
	tree, err := fs.NewOn(img, o.home, &fs.Options{MaxInodes: int64(img.Len()), MaxBytes: 1 << 12})
	must(t, err)
	defer tree.Close()
	o.sh("mkdir n; for i in $(seq 50); do ln -s $(printf %0200d $i) n/$i; done")
	o.unmount()
	must(t, Apply(t.Context(), tree, o.upper, o.index, o.options()))
	if got := tree.Changes().Created; got != 51 {
		t.Errorf("%d were created, want 51", got)
	}
}

// A root that is shown with other permission bits keeps its own, unless somebody changes
// them.
func TestRootShownWithOtherPermissions(t *testing.T) {
	packed := pack(t, small)
	for script, want := range map[string]uint32{"true": 0o755, "chmod 711 .": 0o711} {
		o := newOverlay(t, packed)
		must(t, unix.Fchmod(o.upper, 0o700))
		o.sh(script)
		o.unmount()
		opts := o.options()
		opts.RootPerm = 0o700
		counted, err := Count(t.Context(), o.tree, o.upper, o.index, opts)
		must(t, err)
		must(t, Apply(t.Context(), o.tree, o.upper, o.index, opts))
		if got := o.tree.Attr(o.tree.Root()).Mode & fs.PermBits; got != want {
			t.Errorf("%s: mode %#o, want %#o", script, got, want)
		}
		if c := o.tree.Changes(); c != counted || (c.Total() > 0) != (want == 0o711) {
			t.Errorf("%s: changes = %+v, counted %+v", script, c, counted)
		}
	}
}

// An extended attribute may be as long as the kernel allows.
func TestLongXattrs(t *testing.T) {
	o := newOverlay(t, pack(t, small))
	must(t, unix.Setxattr(o.path("a/f"), "user.long", []byte(strings.Repeat("v", 1<<16-100)), 0))
	for i := range 100 {
		must(t, unix.Setxattr(o.path("b/f"), fmt.Sprintf("user.%s%d", strings.Repeat("n", 200), i), nil, 0))
	}
	want := shown(t, o.dir)
	o.apply()
	wantSame(t, "the tree", held(t, o.tree), want)
}
