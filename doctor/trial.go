package doctor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/workdir/workdir/store"
)

// step is one check on archives. Its detail applies if try returns nil; try can set
// diagnosis.detail to say more.
type step struct {
	name   string
	moves  size
	detail string
	try    func(context.Context) error
}

// size is how much a step moves. All steps that move something need the scratch archive.
type size int

const (
	nothing size = iota
	kilobytes
	megabytes
)

// Sizes of scratch archives, bytes. Every driver sends twoParts and severalParts in several
// parts.
const (
	smallTrial   = 4 << 10
	twoParts     = 9 << 20
	severalParts = 20 << 20
)

func (d *diagnosis) steps() []step {
	return []step{
		{"list", nothing, "", d.list},
		{"workspace", nothing, "no archive yet: a mount begins empty", d.workspace},
		{"absent", nothing, "what is not there is told from what may not be seen", d.absent},
		{"create", nothing, "", d.create},
		d.refused("create again", kilobytes, "a second archive in the place of none", func(ctx context.Context, _ store.Revision) error {
			return d.put(ctx, smallTrial, "")
		}),
		{"replace", kilobytes, "seen at once", d.replace},
		d.refused("replace stale", kilobytes, "a write over another revision", func(ctx context.Context, old store.Revision) error {
			return d.put(ctx, smallTrial, old)
		}),
		{"race of two", kilobytes, "4 rounds, one winner each", d.race},
		{"clock", kilobytes, "", d.clock},
		{"parts", megabytes, "20 MiB as one archive", func(ctx context.Context) error { return d.put(ctx, severalParts, d.now.Revision) }},
		{"range", kilobytes, "as stored", d.ranges},
		{"replaced in read", kilobytes, "the reader gets what it opened", d.replacedInRead},
		d.refused("parts stale", megabytes, "an upload of several parts over another revision", func(ctx context.Context, old store.Revision) error {
			return d.put(ctx, twoParts, old)
		}),
		d.refused("delete stale", kilobytes, "to delete another revision", d.deleteOld),
		{"delete", kilobytes, "gone at once", d.delete},
	}
}

// refused is a step whose change, conditional on an outdated revision, must be a conflict.
func (d *diagnosis) refused(name string, moves size, what string, change func(context.Context, store.Revision) error) step {
	return step{name, moves, what + " is refused", func(ctx context.Context) error {
		old := d.now.Revision
		if err := d.put(ctx, smallTrial, old); err != nil {
			return err
		}
		err := change(ctx, old)
		if errors.Is(err, store.ErrConflict) {
			return nil
		}
		return cmp.Or(err, wrong(err == nil, "use a store that keeps conditions; docs/stores.md lists what each is asked for",
			"%s is accepted: commits would overwrite each other", what))
	}}
}

// What to do if the server is not such a store.
const (
	fixStranger = "does a cache or another program answer in the store's place?"
	fixProxy    = "does a proxy or a gateway stand between? go past it"
)

// newContent returns unique bytes, because some stores derive a revision from the bytes.
func newContent(size int) []byte {
	c := make([]byte, size)
	_, _ = rand.Read(c) // never fails
	return c
}

// put replaces revision replace by new content of size bytes.
func (d *diagnosis) put(ctx context.Context, size int, replace store.Revision) error {
	c := newContent(size)
	info, err := d.store.Put(ctx, d.scratch, func(w io.Writer) error {
		_, err := w.Write(c)
		return err
	}, &store.PutOptions{Replace: replace})
	d.tried = d.tried || err == nil || errors.Is(err, store.ErrUnknown)
	if err == nil {
		d.now, d.content = info, c
	}
	return err
}

func (d *diagnosis) list(ctx context.Context) error {
	const most = 1000
	found, more, err := d.at(strings.TrimSuffix(d.dir, "/")).ListPage(ctx, "", most)
	d.detail = fmt.Sprintf("%d workspaces directly beneath %s", len(found), d.at(d.dir).Identity())
	if more {
		d.detail = "more than " + d.detail
	}
	return err
}

// workspace checks the archive of the URL.
func (d *diagnosis) workspace(ctx context.Context) error {
	o, err := d.store.Open(ctx, d.key)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.Close()
	info := o.Info()
	d.detail = fmt.Sprintf("%d bytes of %s, revision %s", info.Size, info.ModTime.UTC().Format(time.RFC3339), info.Revision)
	if _, err := io.CopyN(io.Discard, o, 1); err != io.EOF {
		return err
	}
	return nil
}

// absent requests a missing archive, for which the answer must be definite.
func (d *diagnosis) absent(ctx context.Context) error {
	_, err := d.store.Stat(ctx, d.scratch)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return cmp.Or(err, wrong(err == nil, fixStranger, "the store tells of an archive that nobody stored"))
}

func (d *diagnosis) create(ctx context.Context) error {
	err := d.put(ctx, smallTrial, "")
	d.detail = "revision " + string(d.now.Revision)
	return err
}

func (d *diagnosis) replace(ctx context.Context) error {
	before := d.now.Revision
	if err := d.put(ctx, smallTrial, before); err != nil {
		return err
	}
	info, err := d.store.Stat(ctx, d.scratch)
	return cmp.Or(err,
		wrong(d.now.Revision == before, "use a store whose revisions change with the bytes", "another archive has the same revision"),
		wrong(info.Revision != d.now.Revision, fixStranger, "stored revision %s, and then %s is there", d.now.Revision, info.Revision))
}

// race lets two writers replace one revision, a few times.
func (d *diagnosis) race(ctx context.Context) error {
	for range 4 {
		var infos [2]store.Info
		var errs [len(infos)]error
		contents := [len(infos)][]byte{newContent(smallTrial), newContent(smallTrial)}
		var ready, all sync.WaitGroup
		ready.Add(len(infos))
		for i := range infos {
			all.Go(func() {
				arrive := sync.OnceFunc(ready.Done)
				defer arrive() // a store may refuse before it reads the bytes
				infos[i], errs[i] = d.store.Put(ctx, d.scratch, func(w io.Writer) error {
					arrive()
					ready.Wait()
					_, err := w.Write(contents[i])
					return err
				}, &store.PutOptions{Replace: d.now.Revision})
			})
		}
		all.Wait()
		winners := 0
		for i, err := range errs {
			if err == nil {
				winners++
				d.now, d.content = infos[i], contents[i]
			} else if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
		if err := wrong(winners != 1, "use a store whose conditional writes are atomic", "%d of two writers for one revision were told that they had stored it", winners); err != nil {
			return err
		}
	}
	return nil
}

// clock compares the store's time of a new archive with ours.
func (d *diagnosis) clock(ctx context.Context) error {
	before := time.Now()
	if err := d.put(ctx, smallTrial, d.now.Revision); err != nil {
		return err
	}
	info, err := d.store.Stat(ctx, d.scratch)
	off := max(0, before.Sub(info.ModTime), time.Until(info.ModTime)).Round(time.Second)
	d.detail = fmt.Sprintf("differs from the store's by %v", off)
	return cmp.Or(err, doubt(off > time.Minute, "set the clock of this host by NTP", "this host's clock and the store's differ by %v; clouds refuse requests from 15 minutes on", off))
}

// ranges reads from the middle, and at the end.
func (d *diagnosis) ranges(ctx context.Context) error {
	o, err := d.store.Open(ctx, d.scratch)
	if err != nil {
		return err
	}
	defer o.Close()
	got := make([]byte, 1000)
	off := len(d.content)/2 + 1
	if _, err := o.ReadAt(got, int64(off)); err != nil && err != io.EOF {
		return err
	}
	same := bytes.Equal(got, d.content[off:off+len(got)])
	n, err := o.ReadAt(got, int64(len(d.content)))
	return cmp.Or(wrong(!same, fixProxy, "a range has other bytes than were stored"),
		wrong(n != 0 || err != io.EOF, fixProxy, "a read at the end gave %d bytes and %v", n, err))
}

// replacedInRead replaces the archive while it is read: the reader gets all of the old
// one, or a conflict.
func (d *diagnosis) replacedInRead(ctx context.Context) error {
	o, err := d.store.Open(ctx, d.scratch)
	if err != nil {
		return err
	}
	defer o.Close()
	old := d.content
	if err := d.put(ctx, smallTrial, d.now.Revision); err != nil {
		return err
	}
	all, err := io.ReadAll(io.LimitReader(o, int64(len(old))+1))
	if errors.Is(err, store.ErrConflict) {
		d.detail = "the reader is told"
		return nil
	}
	return cmp.Or(err, wrong(!bytes.Equal(all, old), "use a store that can read one revision of an object", "the reader got bytes of another archive"))
}

func (d *diagnosis) deleteOld(ctx context.Context, old store.Revision) error {
	err := d.store.Delete(ctx, d.scratch, old, nil)
	if err == nil {
		d.now = store.Info{}
	}
	return err
}

func (d *diagnosis) delete(ctx context.Context) error {
	if err := d.store.Delete(ctx, d.scratch, d.now.Revision, nil); err != nil {
		return err
	}
	_, err := d.store.Stat(ctx, d.scratch)
	return wrong(!errors.Is(err, store.ErrNotExist), fixStranger, "the archive is still there after its removal (%v)", err)
}
