package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// Sizes of scratch archives, bytes. No driver sends severalParts as one part, nor
// twoParts.
const (
	smallTrial   = 4 << 10
	twoParts     = 9 << 20
	severalParts = 20 << 20
)

// raceRounds is how often two writers are set on one revision.
const raceRounds = 4

// content is what a scratch archive holds: bytes that can be made again, and that
// no other archive has, because some stores derive a revision from the bytes.
type content struct {
	seed [32]byte
	size int64 // bytes
}

func newContent(size int64) *content {
	c := &content{size: size}
	_, _ = rand.Read(c.seed[:]) // never fails
	return c
}

func (c *content) reader() io.Reader {
	return io.LimitReader(mathrand.NewChaCha8(c.seed), c.size)
}

func (c *content) write(w io.Writer) error {
	_, err := io.Copy(w, c.reader())
	return err
}

// at gives n bytes from off.
func (c *content) at(off, n int64) ([]byte, error) {
	r := c.reader()
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return nil, err
	}
	p := make([]byte, n)
	_, err := io.ReadFull(r, p)
	return p, err
}

// put stores new content of size bytes in the place of revision replace.
func (d *diagnosis) put(ctx context.Context, size int64, replace Revision) error {
	c := newContent(size)
	info, err := d.store.Put(ctx, d.scratch, c.write, &PutOptions{Replace: replace})
	if err == nil || errors.Is(err, ErrUnknown) {
		d.tried = true
	}
	if err == nil {
		d.now, d.content = info, c
	}
	return err
}

// refused says whether a write that must be a conflict was one.
func refused(what string, err error) (string, error) {
	switch {
	case errors.Is(err, ErrConflict):
		return what + " is refused", nil
	case err == nil:
		return "", &oddity{CheckFail, what + " is accepted: commits would overwrite each other", "use a store that keeps conditions; docs/stores.md lists what each is asked for"}
	}
	return "", err
}

func (d *diagnosis) list(ctx context.Context) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	infos, err := d.store.List(bounded, d.dir)
	switch {
	case err == nil:
		return fmt.Sprintf("%d workspaces directly beneath %s", len(infos), d.object(d.dir)), nil
	case bounded.Err() != nil && ctx.Err() == nil:
		return "", &oddity{CheckWarn, fmt.Sprintf("no end after %v: there are very many workspaces directly beneath %s", listPatience, d.object(d.dir)), "spread them over more prefixes"}
	}
	return "", err
}

// workspace looks at the archive that the URL names.
func (d *diagnosis) workspace(ctx context.Context) (string, error) {
	o, err := d.store.Open(ctx, d.key)
	if errors.Is(err, ErrNotExist) {
		return "no archive yet: a mount begins empty", nil
	}
	if err != nil {
		return "", err
	}
	defer o.Close()
	if _, err := io.CopyN(io.Discard, o, 1); err != nil && err != io.EOF {
		return "", err
	}
	info := o.Info()
	return fmt.Sprintf("%d bytes of %s, revision %s", info.Size, info.ModTime.UTC().Format(time.RFC3339), info.Revision), nil
}

// absent asks for an archive that is not there, which must be a definite answer.
func (d *diagnosis) absent(ctx context.Context) (string, error) {
	_, err := d.store.Stat(ctx, d.scratch)
	switch {
	case errors.Is(err, ErrNotExist):
		return "what is not there is told from what may not be seen", nil
	case err == nil:
		return "", &oddity{CheckFail, "the store tells of an archive that nobody stored", "look at what answers in the store's place"}
	}
	return "", err
}

func (d *diagnosis) create(ctx context.Context) (string, error) {
	if err := d.put(ctx, smallTrial, ""); err != nil {
		return "", err
	}
	return "revision " + string(d.now.Revision), nil
}

func (d *diagnosis) createAgain(ctx context.Context) (string, error) {
	return refused("a second archive in the place of none", d.put(ctx, smallTrial, ""))
}

func (d *diagnosis) replace(ctx context.Context) (string, error) {
	before := d.now.Revision
	if err := d.put(ctx, smallTrial, before); err != nil {
		return "", err
	}
	if d.now.Revision == before {
		return "", &oddity{CheckFail, "another archive has the same revision", "use a store whose revisions change with the bytes"}
	}
	info, err := d.store.Stat(ctx, d.scratch)
	if err == nil && info.Revision != d.now.Revision {
		err = &oddity{CheckFail, fmt.Sprintf("stored revision %s, and then %s is there", d.now.Revision, info.Revision), "does a cache or another program answer in the store's place?"}
	}
	return "seen at once", err
}

// stale gives a revision that the scratch archive had until now.
func (d *diagnosis) stale(ctx context.Context) (Revision, error) {
	old := d.now.Revision
	return old, d.put(ctx, smallTrial, old)
}

func (d *diagnosis) replaceStale(ctx context.Context) (string, error) {
	old, err := d.stale(ctx)
	if err != nil {
		return "", err
	}
	return refused("a write over another revision", d.put(ctx, smallTrial, old))
}

// race sets two writers on one revision, a few times.
func (d *diagnosis) race(ctx context.Context) (string, error) {
	for range raceRounds {
		if err := d.raceOnce(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d rounds, one winner each", raceRounds), nil
}

func (d *diagnosis) raceOnce(ctx context.Context) error {
	const writers = 2
	var infos [writers]Info
	var errs [writers]error
	contents := [writers]*content{newContent(smallTrial), newContent(smallTrial)}
	start := newMeeting(writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			arrive := sync.OnceFunc(start.arrive)
			defer arrive() // a store may refuse before it asks for the bytes
			write := func(w io.Writer) error {
				arrive()
				<-start.met
				return contents[i].write(w)
			}
			infos[i], errs[i] = d.store.Put(ctx, d.scratch, write, &PutOptions{Replace: d.now.Revision})
		})
	}
	all.Wait()
	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winners++
			d.now, d.content = infos[i], contents[i]
		case !errors.Is(err, ErrConflict):
			return err
		}
	}
	if winners != 1 {
		return &oddity{CheckFail, fmt.Sprintf("%d of two writers for one revision were told that they had stored it", winners), "use a store whose conditional writes are atomic"}
	}
	return nil
}

// meeting is where several goroutines wait for each other.
type meeting struct {
	mu      sync.Mutex
	missing int           // guarded by mu
	met     chan struct{} // closed when all are there
}

func newMeeting(n int) *meeting { return &meeting{missing: n, met: make(chan struct{})} }

func (m *meeting) arrive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.missing--; m.missing == 0 {
		close(m.met)
	}
}

// clock compares the time that the store gives a new archive with ours.
func (d *diagnosis) clock(ctx context.Context) (string, error) {
	before := time.Now()
	if err := d.put(ctx, smallTrial, d.now.Revision); err != nil {
		return "", err
	}
	info, err := d.store.Stat(ctx, d.scratch)
	if err != nil {
		return "", err
	}
	return skew(info.ModTime, before, time.Now())
}

// skew says how far a store's clock, which showed stored, is from ours, which went
// from before to after meanwhile.
func skew(stored, before, after time.Time) (string, error) {
	off := time.Duration(0)
	switch {
	case stored.Before(before):
		off = before.Sub(stored)
	case stored.After(after):
		off = stored.Sub(after)
	}
	off = off.Round(time.Second)
	if off > clockSkew {
		return "", &oddity{CheckWarn, fmt.Sprintf("this host's clock and the store's differ by %v; clouds refuse requests from 15 minutes on", off), "set the clock of this host by NTP"}
	}
	return fmt.Sprintf("differs from the store's by %v", off), nil
}

func (d *diagnosis) parts(ctx context.Context) (string, error) {
	if err := d.put(ctx, severalParts, d.now.Revision); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d MiB as one archive", severalParts>>20), nil
}

func (d *diagnosis) partsStale(ctx context.Context) (string, error) {
	old, err := d.stale(ctx)
	if err != nil {
		return "", err
	}
	return refused("an upload of several parts over another revision", d.put(ctx, twoParts, old))
}

// ranges reads from the middle, and at the end.
func (d *diagnosis) ranges(ctx context.Context) (string, error) {
	o, err := d.store.Open(ctx, d.scratch)
	if err != nil {
		return "", err
	}
	defer o.Close()
	const length = 1000
	off := d.content.size/2 + 1
	want, err := d.content.at(off, length)
	if err != nil {
		return "", err
	}
	got := make([]byte, length)
	if _, err := o.ReadAt(got, off); err != nil && err != io.EOF {
		return "", err
	}
	if !bytes.Equal(got, want) {
		return "", &oddity{CheckFail, "a range has other bytes than were stored", "does a proxy or a gateway stand between? go past it"}
	}
	if n, err := o.ReadAt(got, d.content.size); n != 0 || err != io.EOF {
		return "", &oddity{CheckFail, fmt.Sprintf("a read at the end gave %d bytes and %v", n, err), "does a proxy or a gateway stand between? go past it"}
	}
	return "as stored", nil
}

// replacedInRead replaces the archive while it is read: the reader gets all of the
// old one, or learns of it.
func (d *diagnosis) replacedInRead(ctx context.Context) (string, error) {
	o, err := d.store.Open(ctx, d.scratch)
	if err != nil {
		return "", err
	}
	defer o.Close()
	old := d.content
	if err := d.put(ctx, smallTrial, d.now.Revision); err != nil {
		return "", err
	}
	all, err := io.ReadAll(io.LimitReader(o, old.size+1))
	switch {
	case errors.Is(err, ErrConflict):
		return "the reader is told", nil
	case err != nil:
		return "", err
	}
	want, err := old.at(0, old.size)
	if err == nil && !bytes.Equal(all, want) {
		err = &oddity{CheckFail, "the reader got bytes of another archive", "use a store that can read one revision of an object"}
	}
	return "the reader gets what it opened", err
}

func (d *diagnosis) deleteStale(ctx context.Context) (string, error) {
	old, err := d.stale(ctx)
	if err != nil {
		return "", err
	}
	err = d.store.Delete(ctx, d.scratch, old, nil)
	if err == nil {
		d.now = Info{}
	}
	return refused("to delete another revision", err)
}

func (d *diagnosis) delete(ctx context.Context) (string, error) {
	if err := d.store.Delete(ctx, d.scratch, d.now.Revision, nil); err != nil {
		return "", err
	}
	if _, err := d.store.Stat(ctx, d.scratch); !errors.Is(err, ErrNotExist) {
		return "", &oddity{CheckFail, fmt.Sprintf("the archive is still there after its removal (%v)", err), "does a cache or another program answer in the store's place?"}
	}
	return "gone at once", nil
}
