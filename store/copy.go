package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// CopyOptions are the conditions of a copy on its destination. Nil stands for the zero value:
// the destination must have no archive.
type CopyOptions struct {
	// Replace is the revision that the copy replaces; empty for none.
	Replace Revision
	// ReplaceAny lets the copy replace the archive that is there when it begins, if any.
	// Replace is then ignored.
	ReplaceAny bool
	// Progress is called now and then, on the caller's goroutine, with the number of copied
	// bytes and the total.
	Progress func(done, total int64)
}

// Copied is the archive that was copied, and the new one.
type Copied struct {
	From, To Info
}

// Copy copies the archive of a workspace, or a version of it, to another URL, in the same
// store or another: the same bytes, the commit log included. The two stores copy directly if
// they can; otherwise the bytes pass through this process, a few at a time.
//
// Errors: ErrNotExist if src has no archive; ErrConflict if the destination does not meet the
// condition, or the source is replaced while it is read; ErrURL if both are the same archive;
// those of Store.Put. Except with ErrUnknown nothing was stored.
func Copy(ctx context.Context, src, dst string, opts *CopyOptions) (Copied, error) {
	from, to, err := parseTwo(src, dst)
	if err != nil {
		return Copied{}, err
	}
	return from.CopyTo(ctx, to, opts)
}

func parseTwo(src, dst string) (from, to URL, err error) {
	if from, err = ParseURL(src); err == nil {
		to, err = ParseURL(dst)
	}
	return from, to, err
}

// CopyTo is Copy for parsed URLs.
func (u URL) CopyTo(ctx context.Context, dst URL, opts *CopyOptions) (Copied, error) {
	c, err := openCopy(ctx, u, dst, opts)
	if err != nil {
		return Copied{}, err
	}
	defer c.close()
	return c.run(ctx)
}

// Move copies the archive of a workspace, as Copy does, and then removes
// exactly the revision that it copied. An error after the copy says that both exist, and
// Copied.To is then not zero.
func Move(ctx context.Context, src, dst string, opts *CopyOptions) (Copied, error) {
	from, to, err := parseTwo(src, dst)
	if err != nil {
		return Copied{}, err
	}
	if err := from.IsVersion("move"); err != nil {
		return Copied{}, err
	}
	c, err := openCopy(ctx, from, to, opts)
	if err != nil {
		return Copied{}, err
	}
	defer c.close()
	done, err := c.run(ctx)
	if err != nil {
		return Copied{}, err
	}
	return done, c.removeSource(ctx, done)
}

// copying is one copy. Its fields are immutable, except src, which run replaces by the key of
// the archive itself.
type copying struct {
	src, dst URL
	from, to Store
	opts     CopyOptions
}

func openCopy(ctx context.Context, src, dst URL, opts *CopyOptions) (*copying, error) {
	c := &copying{src: src, dst: dst}
	if opts != nil {
		c.opts = *opts
	}
	if err := dst.IsVersion("copy to"); err != nil {
		return nil, err
	}
	if c.src == c.dst {
		return nil, c.same()
	}
	var err error
	if c.from, err = OpenBucket(ctx, c.src); err != nil {
		return nil, err
	}
	if c.to, err = OpenBucket(ctx, c.dst); err != nil {
		c.from.Close()
		return nil, err
	}
	return c, nil
}

func (c *copying) close() {
	c.from.Close()
	c.to.Close()
}

// same is the error of a copy onto itself.
func (c *copying) same() error {
	return &Error{Op: "copy to", Object: c.dst.Redacted(), Kind: ErrURL, Cause: errors.New("it is the source itself"), Todo: "choose another URL"}
}

func (c *copying) run(ctx context.Context) (Copied, error) {
	o, err := c.open(ctx)
	if err != nil {
		return Copied{}, err
	}
	defer o.Close()
	c.src.Key, c.src.Commit = o.Info().Key, "" // of a version, its own
	replace, err := c.replaced(ctx, o.Info())
	if err != nil {
		return Copied{}, err
	}
	m := commit{op: "copy to", store: c.to, key: c.dst.Key, replace: replace, put: c.putFrom(o), ours: isCopyOf(o)}
	info, err := m.run(ctx)
	if err != nil {
		return Copied{}, err
	}
	c.progress(info.Size, info.Size)
	return Copied{From: o.Info(), To: info}, nil
}

// open opens the source.
func (c *copying) open(ctx context.Context) (Object, error) {
	if c.src.Commit != "" {
		return c.src.OpenArchive(ctx, c.from, LogTail)
	}
	return c.from.Open(ctx, c.src.Key)
}

func (c *copying) progress(done, total int64) {
	if c.opts.Progress != nil {
		c.opts.Progress(done, total)
	}
}

// replaced returns the revision that the copy replaces, if the destination meets the
// condition.
func (c *copying) replaced(ctx context.Context, from Info) (Revision, error) {
	have, err := c.to.Stat(ctx, c.dst.Key)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return "", err
	}
	if err == nil && c.isSource(from, have) {
		return "", c.same()
	}
	return Expected(c.dst, have.Revision, c.opts.Replace, c.opts.ReplaceAny)
}

// isSource reports whether the destination is the source itself under another URL: a file by
// another path, a bucket by another endpoint. Moving it onto itself would remove it.
func (c *copying) isSource(from, have Info) bool {
	samePlace := c.src.Scheme == "file" || c.src.Bucket == c.dst.Bucket && c.src.Key == c.dst.Key
	return c.src.Scheme == c.dst.Scheme && samePlace &&
		from.Revision == have.Revision && from.Size == have.Size && from.ModTime.Equal(have.ModTime)
}

// Expected returns the revision that a write to u replaces, given the current one (empty for
// none) and the condition: the wanted revision, or any. ErrConflict if the condition is not
// met.
func Expected(u URL, have, want Revision, anyRevision bool) (Revision, error) {
	if anyRevision || have == want {
		return have, nil
	}
	e := &Error{Op: "write", Object: u.Redacted(), Kind: ErrConflict}
	switch {
	case want == "":
		e.Cause = fmt.Errorf("there is an archive already, of revision %s", have)
		e.Todo = "ask for it to be replaced (--replace), or choose another URL"
	case have == "":
		e.Cause = fmt.Errorf("there is no archive, and revision %s was to be replaced", want)
	default:
		e.Cause = fmt.Errorf("it has revision %s, and %s was to be replaced", have, want)
		e.Todo = "look at what was stored meanwhile"
	}
	return "", e
}

// definite reports whether an error of a direct copy between the stores is final. Other
// errors, such as a permission that one bucket lacks on the other, or an encryption key, may
// not occur when the bytes pass through this process; if they do, that attempt's error is
// clearer.
func definite(err error) bool {
	for _, kind := range []error{ErrConflict, ErrUnknown, ErrNotExist, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// putFrom returns the function that writes the copy of o: the destination's store fetches the
// archive itself, or the bytes of o are read and sent to it.
func (c *copying) putFrom(o Object) func(context.Context, *PutOptions) (Info, error) {
	return func(ctx context.Context, opts *PutOptions) (Info, error) {
		info, err := c.within(ctx, o.Info(), opts)
		if err == nil || definite(err) {
			return info, err
		}
		return c.to.Put(ctx, c.dst.Key, func(w io.Writer) error {
			size := o.Info().Size
			return WritePlan(ctx, &progress{w: w, tell: func(done int64) { c.progress(done, size) }}, o, []Piece{{Len: size}})
		}, opts)
	}
}

// progress reports how many bytes w has accepted.
type progress struct {
	w    io.Writer
	done int64
	tell func(done int64)
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.done += int64(n)
	p.tell(p.done)
	return n, err
}

// within lets the destination's store fetch the archive itself.
func (c *copying) within(ctx context.Context, from Info, opts *PutOptions) (Info, error) {
	to, ok := c.to.(Copier)
	if !ok {
		return Info{}, errors.ErrUnsupported
	}
	return to.CopyFrom(ctx, c.from, c.src.Key, from.Revision, c.dst.Key, opts)
}

// replacedMeanwhile is the error of a copy whose source was replaced during the copy.
func replacedMeanwhile(object string, want, have Revision) error {
	return &Error{
		Op: "copy", Object: object, Kind: ErrConflict,
		Cause: fmt.Errorf("revision %s was replaced by %s while it was copied", want, have), Todo: "copy it again",
	}
}

// isCopyOf returns a function that finds out whether an archive at the destination is the copy
// of o. Commit ids cannot show that: the destination's log may have the source's commit from
// an earlier copy.
func isCopyOf(o Object) func(Object) (finding, error) {
	return func(there Object) (finding, error) {
		info := there.Info()
		if info.Size != o.Info().Size {
			return finding{foreign, info}, nil
		}
		same, err := sameBytes(o, there, info.Size)
		switch {
		case err != nil:
			return finding{}, err
		case !same:
			return finding{foreign, info}, nil
		}
		return finding{stored, info}, nil
	}
}

// sameBytes compares the first size bytes.
func sameBytes(a, b io.ReaderAt, size int64) (bool, error) {
	const step = 1 << 20
	bufA, bufB := make([]byte, step), make([]byte, step)
	for off := int64(0); off < size; off += step {
		n := min(size-off, step)
		na, errA := a.ReadAt(bufA[:n], off)
		nb, errB := b.ReadAt(bufB[:n], off)
		if int64(na) < n || int64(nb) < n {
			return false, cutOff(errors.Join(errA, errB))
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// removeSource is the second step of a move.
func (c *copying) removeSource(ctx context.Context, done Copied) error {
	_, err := Commit(ctx, c.from, c.src.Key, &CommitRequest{Replace: done.From.Revision, Delete: true})
	if err == nil {
		return nil
	}
	return &Error{
		Op: "move", Object: c.src.Redacted(),
		Cause: fmt.Errorf("the copy at %s is complete (revision %s), but the source was not removed: %w", c.dst.Redacted(), done.To.Revision, err),
		Todo:  "both may exist: check the source, and remove it if it is not wanted",
	}
}
