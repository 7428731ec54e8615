package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// Change is what became of an entry on the way from one workspace to another.
type Change string

// Changes.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// Difference is one entry that two workspaces do not have in common.
type Difference struct {
	Path   string   `json:"path"`
	Change Change   `json:"change"`
	What   []string `json:"what,omitempty"` // of a change: "kind", "mode", "size", "content", "target", "device"
	A      *Entry   `json:"a,omitempty"`    // nil where it was added
	B      *Entry   `json:"b,omitempty"`    // nil where it was removed
}

// Diff compares two workspaces by names, kinds, permission bits, sizes, content,
// link targets and device numbers; not by times, owners and extended attributes.
// It gives the differences in archive order, none where they are equal. Errors as
// Tree, without ErrPath.
func Diff(ctx context.Context, urlA, urlB string, opts *Options) ([]Difference, error) {
	lo := loadOptions{Options: opts.orDefault(), content: true, devices: true}
	a, err := load(ctx, urlA, lo)
	if err != nil {
		return nil, err
	}
	defer a.close()
	b, err := load(ctx, urlB, lo)
	if err != nil {
		return nil, err
	}
	defer b.close()
	d := &differ{ctx: ctx, opts: lo.Options, a: a, b: b}
	return d.compare()
}

// differ compares two trees.
type differ struct {
	ctx  context.Context
	opts *Options
	a, b *loaded

	total, done int64 // bytes of content to compare
	found       []Difference
}

func (d *differ) compare() ([]Difference, error) {
	as, err := list(d.a.tree, "")
	if err != nil {
		return nil, err
	}
	bs, err := list(d.b.tree, "")
	if err != nil {
		return nil, err
	}
	for _, e := range as {
		d.total += e.Size
	}
	for len(as) > 0 || len(bs) > 0 {
		switch {
		case len(bs) == 0 || len(as) > 0 && orderKey(as[0].Path) < orderKey(bs[0].Path):
			d.found = append(d.found, Difference{Path: as[0].Path, Change: Removed, A: &as[0].Entry})
			d.done += as[0].Size
			as = as[1:]
		case len(as) == 0 || as[0].Path != bs[0].Path:
			d.found = append(d.found, Difference{Path: bs[0].Path, Change: Added, B: &bs[0].Entry})
			bs = bs[1:]
		default:
			if err := d.pair(&as[0], &bs[0]); err != nil {
				return nil, err
			}
			as, bs = as[1:], bs[1:]
		}
	}
	return d.found, nil
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
	d.done += a.Size
	if what != nil {
		d.found = append(d.found, Difference{Path: a.Path, Change: Changed, What: what, A: &a.Entry, B: &b.Entry})
	}
	return nil
}

// sameContent compares two files of one size. What is a hole in both is not read, nor
// what two archives have in common.
func (d *differ) sameContent(a, b *listed) (bool, error) {
	if d.a.image != nil && d.b.image != nil && d.a.image.Same(uint32(a.ino-1), d.b.image, uint32(b.ino-1)) {
		return true, nil
	}
	x, errA := d.a.file(a)
	y, errB := d.b.file(b)
	defer x.release()
	defer y.release()
	if err := errors.Join(errA, errB); err != nil {
		return false, err
	}
	bufA, bufB := make([]byte, readSize), make([]byte, readSize)
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

// String says in words what differs, beginning with "+", "-" or "M".
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
