package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/workdir/workdir/fs"
)

// Change is the kind of difference of an entry between two workspaces.
type Change string

// Changes.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// Difference is one entry that differs between two workspaces.
type Difference struct {
	Path   string   `json:"path"`
	Change Change   `json:"change"`
	What   []string `json:"what,omitempty"` // of a change: "kind", "mode", "size", "content", "target", "device"
	A      *Entry   `json:"a,omitempty"`    // nil if it was added
	B      *Entry   `json:"b,omitempty"`    // nil if it was removed

	Patch *Patch `json:"patch,omitempty"` // of files whose content differs, with DiffOptions.Patches
}

// DiffOptions are the options of Diff. Nil stands for the zero value.
type DiffOptions struct {
	Options
	// Path limits the comparison to a path and everything beneath it; a clean path without
	// links. "" is everything.
	Path string
	// Patches fills in Difference.Patch.
	Patches bool
}

// Nothing stands for a workspace without files in Diff.
const Nothing = ""

// Diff compares two workspaces by names, kinds, permission bits, sizes, content,
// link targets and device numbers; not by times, owners and extended attributes.
// Each is a URL, a version or a plain directory (IsDirectory), or Nothing. It returns the
// differences in archive order, none if they are equal. Errors as Tree, without ErrPath; those
// of the file system.
func Diff(ctx context.Context, a, b string, opts *DiffOptions) ([]Difference, error) {
	if opts == nil {
		opts = &DiffOptions{}
	}
	lo := loadOptions{Options: &opts.Options, content: true, devices: true}
	left, err := loadSide(ctx, a, lo)
	if err != nil {
		return nil, err
	}
	defer left.close()
	right, err := loadSide(ctx, b, lo)
	if err != nil {
		return nil, err
	}
	defer right.close()
	return compare(ctx, left, right, opts)
}

// Diff compares the snapshot with an earlier one, as the function Diff does.
func (s *Snapshot) Diff(ctx context.Context, before *Snapshot, opts *DiffOptions) ([]Difference, error) {
	if opts == nil {
		opts = &DiffOptions{}
	}
	return compare(ctx, before.l, s.l, opts)
}

func compare(ctx context.Context, a, b *loaded, opts *DiffOptions) ([]Difference, error) {
	d := &differ{ctx: ctx, opts: &opts.Options, a: a, b: b, at: opts.Path, patches: opts.Patches}
	return d.compare()
}

// loadSide loads one side of a comparison.
func loadSide(ctx context.Context, what string, lo loadOptions) (*loaded, error) {
	switch {
	case what == Nothing:
		return newTree(lo)
	case IsDirectory(what):
		return loadDir(ctx, what, lo.Options)
	}
	return load(ctx, what, lo)
}

// IsDirectory reports whether a side of a comparison is a plain directory: a path, without a
// scheme, of an existing directory that has no archive of that name beside it. With a trailing
// slash it is a directory even beside such an archive.
func IsDirectory(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || !fi.IsDir() {
		return false
	}
	_, err = os.Stat(strings.TrimRight(path, "/") + ".tar.gz")
	return strings.HasSuffix(path, "/") || errors.Is(err, os.ErrNotExist)
}

// differ compares two trees.
type differ struct {
	ctx  context.Context
	opts *Options
	a, b *loaded

	at      string // only this path and everything beneath it
	patches bool

	bufs        [2][]byte // to compare content
	total, done int64     // bytes of content to compare
	found       []Difference
}

// compare walks both trees in step, so that what is known to be the same costs no memory.
func (d *differ) compare() ([]Difference, error) {
	if err := d.measure(); err != nil {
		return nil, err
	}
	nextA, stopA := iter.Pull2(d.walk(d.a))
	defer stopA()
	nextB, stopB := iter.Pull2(d.walk(d.b))
	defer stopB()
	a, errA, moreA := nextA()
	b, errB, moreB := nextB()
	for moreA || moreB {
		if err := errors.Join(errA, errB, d.ctx.Err()); err != nil {
			return nil, err
		}
		var err error
		switch {
		case !moreB || moreA && fs.ComparePaths(a.path, b.path) < 0:
			err = d.alone(Removed, &a)
			a, errA, moreA = nextA()
		case !moreA || a.path != b.path:
			err = d.alone(Added, &b)
			b, errB, moreB = nextB()
		default:
			if !d.known(&a, &b) {
				err = d.both(&a, &b)
			}
			d.done += a.size()
			a, errA, moreA = nextA()
			b, errB, moreB = nextB()
		}
		if err != nil {
			return nil, err
		}
	}
	return d.found, nil
}

// visited is a name that a walk is at.
type visited struct {
	tree *fs.Tree
	path string
	n    *fs.Inode // good until the walk goes on
	attr fs.Attr
}

func (v *visited) size() int64 {
	if kindOf(v.attr.Mode) != File {
		return 0
	}
	return v.attr.Size
}

func (v *visited) listed() (*listed, error) {
	e, err := entryOf(v.tree, v.path, v.n, v.attr)
	return &listed{e, v.attr.Ino}, err
}

// errStopped ends a walk whose rest nobody wants.
var errStopped = errors.New("stopped")

// walk goes through what is to be compared of one side. An error is the last thing.
func (d *differ) walk(l *loaded) iter.Seq2[visited, error] {
	return func(yield func(visited, error) bool) {
		err := l.tree.WalkFrom(d.at, func(path string, n *fs.Inode, a fs.Attr) error {
			if path != "" && !yield(visited{l.tree, path, n, a}, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(visited{}, err)
		}
	}
}

// measure sums up what is to be compared, if somebody is told of the progress.
func (d *differ) measure() error {
	if d.opts.Progress == nil {
		return nil
	}
	for v, err := range d.walk(d.a) {
		if err != nil {
			return err
		}
		d.total += v.size()
	}
	return nil
}

// known reports whether two of one path are known to be the same without reading content.
func (d *differ) known(a, b *visited) bool {
	if a.attr.Mode != b.attr.Mode {
		return false
	}
	switch kindOf(a.attr.Mode) {
	case Directory:
		return true
	case File:
		return d.shared(a.attr.Ino, b.attr.Ino)
	}
	return false
}

// shared reports whether two archives are known to have the content of two files in common.
func (d *differ) shared(a, b uint64) bool {
	return d.a.image != nil && d.b.image != nil && d.a.image.Same(uint32(a-1), d.b.image, uint32(b-1))
}

// alone notes what one side has.
func (d *differ) alone(change Change, v *visited) error {
	e, err := v.listed()
	if err != nil {
		return err
	}
	if change == Added {
		return d.note(Difference{Path: v.path, Change: Added, B: &e.Entry}, nil, e)
	}
	d.done += v.size()
	return d.note(Difference{Path: v.path, Change: Removed, A: &e.Entry}, e, nil)
}

// both compares what both sides have.
func (d *differ) both(a, b *visited) error {
	x, errA := a.listed()
	y, errB := b.listed()
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	return d.pair(x, y)
}

// pair compares two entries of one path.
func (d *differ) pair(a, b *listed) error {
	var what []string
	differs := func(is bool, word string) {
		if is {
			what = append(what, word)
		}
	}
	differs(a.Kind != b.Kind, "kind")
	differs(a.Mode != b.Mode && a.Kind != Symlink && b.Kind != Symlink, "mode")
	if a.Kind == b.Kind {
		differs(a.Size != b.Size, "size")
		differs(a.Target != b.Target, "target")
		differs(a.Device != b.Device, "device")
	}
	if a.Kind == File && b.Kind == File && a.Size == b.Size {
		same, err := d.sameContent(a, b)
		if err != nil {
			return err
		}
		differs(!same, "content")
	}
	if what == nil {
		return nil
	}
	return d.note(Difference{Path: a.Path, Change: Changed, What: what, A: &a.Entry, B: &b.Entry}, a, b)
}

// note adds a difference of two entries, either of which may be missing.
func (d *differ) note(found Difference, a, b *listed) error {
	if d.patches {
		patch, err := d.patch(a, b)
		if err != nil {
			return err
		}
		found.Patch = patch
	}
	d.found = append(d.found, found)
	return nil
}

// sameContent compares two files of one size. It does not read common holes, nor content that
// two archives are known to share.
func (d *differ) sameContent(a, b *listed) (bool, error) {
	if d.shared(a.ino, b.ino) {
		return true, nil
	}
	x, errA := d.a.file(a)
	y, errB := d.b.file(b)
	defer x.release()
	defer y.release()
	if err := errors.Join(errA, errB); err != nil {
		return false, err
	}
	bufA, bufB := d.buffers(a.Size)
	for off := int64(0); off < a.Size; {
		if d.ctx.Err() != nil {
			return false, context.Cause(d.ctx)
		}
		off = min(x.nextData(off), y.nextData(off))
		n := min(readSize, a.Size-off)
		if err := errors.Join(x.fill(bufA[:n], off), y.fill(bufB[:n], off)); err != nil {
			return false, err
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			return false, nil
		}
		off += n
		d.opts.progress(Comparing, d.done+off, d.total)
	}
	return true, nil
}

// buffers returns two for files of a size.
func (d *differ) buffers(size int64) (a, b []byte) {
	for i := range d.bufs {
		if n := int(min(size, readSize)); len(d.bufs[i]) < n {
			d.bufs[i] = make([]byte, n)
		}
	}
	return d.bufs[0], d.bufs[1]
}

// String describes the difference, beginning with "+", "-" or "M".
func (d Difference) String() string {
	switch d.Change {
	case Added:
		return fmt.Sprintf("+ %s (%s)", Printable(d.Path), d.B.Kind)
	case Removed:
		return fmt.Sprintf("- %s (%s)", Printable(d.Path), d.A.Kind)
	}
	words := make([]string, 0, len(d.What))
	for _, what := range d.What {
		words = append(words, d.word(what))
	}
	return fmt.Sprintf("M %s (%s)", Printable(d.Path), strings.Join(words, ", "))
}

func (d Difference) word(what string) string {
	switch what {
	case "kind":
		return fmt.Sprintf("%s, was %s", d.B.Kind, d.A.Kind)
	case "mode":
		return fmt.Sprintf("mode %s, was %s", d.B.Mode, d.A.Mode)
	case "size":
		return fmt.Sprintf("%d bytes, was %d", d.B.Size, d.A.Size)
	case "target":
		return fmt.Sprintf("leads to %s, was to %s", Printable(d.B.Target), Printable(d.A.Target))
	case "device":
		return fmt.Sprintf("device %s, was %s", d.B.Device, d.A.Device)
	}
	return what
}
