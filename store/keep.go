package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/workdir/workdir/archive"
)

// Keep selects the replaced archives that are kept as versions: those selected by either
// field. The zero value keeps none.
type Keep struct {
	Last int           // that many of the newest
	For  time.Duration // those replaced within that time
}

// IsZero reports whether nothing is kept.
func (k Keep) IsZero() bool { return k.Last <= 0 && k.For <= 0 }

// Expired returns those of versions, in the order of URL.Versions, that k does not select. log
// is that of the archive that is there now; it says when each was replaced and which one is no
// version, since it is that archive itself.
func (k Keep) Expired(versions []Version, log *archive.Log, now time.Time) (expired []Version) {
	replaced := map[archive.CommitID]time.Time{}
	for r := range log.All() {
		replaced[r.Parent] = r.Time
	}
	n := 0
	for _, v := range versions {
		if log.Len() > 0 && v.ID == log.Record.ID {
			continue // a running commit may have made it
		}
		at, known := replaced[v.ID]
		if !known {
			at = v.ModTime
		}
		if n++; n > k.Last && (k.For <= 0 || now.Sub(at) >= k.For) {
			expired = append(expired, v)
		}
	}
	return expired
}

// keepEvery is how many commits of a workspace lie between two checks for expired versions: a
// check costs a list.
const keepEvery = 10

// keepTries is how often keeping an archive is retried after a lost answer.
const keepTries = 3

// keeping keeps the archive that a commit replaces. It runs in parallel with the upload of the
// new one, and completes before the request that makes that one visible: a crash in between
// leaves a version identical to the current archive.
type keeping struct {
	store Store
	key   string
	c     *CommitRequest
	id    archive.CommitID
	done  func() error // does it, once
	end   context.CancelFunc
	runs  sync.WaitGroup
}

// startKeeping starts keeping the archive that c replaces, if requested; else it returns nil.
func startKeeping(ctx context.Context, s Store, key string, c *CommitRequest) *keeping {
	if c.Keep.IsZero() || c.Replace == "" {
		return nil
	}
	k := &keeping{store: s, key: key, c: c, id: c.Parent}
	if k.id == "" {
		k.id = ForeignID(c.Replace)
	}
	ctx, k.end = context.WithCancel(ctx)
	k.done = sync.OnceValue(func() error { return k.keep(ctx) })
	k.runs.Go(func() { _ = k.done() }) // before asks for the error
	return k
}

func (k *keeping) keep(ctx context.Context) error {
	var err error
	for range keepTries {
		err = keepAs(ctx, k.store, k.key, k.c.Replace, versionsOf(k.key)+string(k.id))
		if !errors.Is(err, ErrUnknown) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrUnknown): // of the version; the commit itself was not sent
		return &Error{Op: "keep", Object: k.key, Kind: ErrUnreachable, Cause: errors.New(err.Error())}
	case errors.As(err, new(*ConflictError)):
		return err
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNotExist):
		return fmt.Errorf("%w (%w)", &ConflictError{Key: k.key, Want: k.c.Replace}, err)
	case err != nil:
		return fmt.Errorf("keep what the commit replaces: %w", err)
	}
	return nil
}

// before is the commit's Before, after the keeping.
func (k *keeping) before(ask func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := k.done(); err != nil {
			return err
		}
		if ask == nil {
			return nil
		}
		return ask(ctx)
	}
}

// stop cancels the keeping and waits for its end.
func (k *keeping) stop() {
	k.end()
	k.runs.Wait()
}

// expire removes expired versions, now and then. Versions that cannot be removed wait for the
// next time, since the commit is done.
func (k *keeping) expire(ctx context.Context) {
	log := k.c.Log
	if log == nil || log.Len()%keepEvery != 0 {
		return
	}
	u := URL{Key: k.key}
	versions, err := u.Versions(ctx, k.store)
	for _, v := range k.c.Keep.Expired(versions, log, time.Now()) {
		err = errors.Join(err, Drop(ctx, k.store, v))
	}
	if err != nil {
		Logger(ctx).Warn("versions that are not kept any more could not be removed", "workspace", k.key, "cause", err)
	}
}

// Drop removes a version, or the Version of a checkpoint, as a list showed it. That it is gone
// is no error.
func Drop(ctx context.Context, s Store, v Version) error {
	var err error
	if keeper, ok := s.(Keeper); ok {
		err = keeper.Drop(ctx, v.Key, v.Revision)
	} else {
		err = s.Delete(ctx, v.Key, v.Revision, nil)
	}
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// keepAs makes the archive of key, of revision rev, also that of another key: by the store
// itself, or by sending its bytes. An existing archive stays.
func keepAs(ctx context.Context, s Store, key string, rev Revision, as string) error {
	if keeper, ok := s.(Keeper); ok {
		if err := keeper.Keep(ctx, key, rev, as); err == nil || definite(err) {
			return err
		}
	}
	err := copyAs(ctx, s, key, rev, as)
	if e := (*ConflictError)(nil); errors.As(err, &e) && e.Key == as {
		return nil
	}
	return err
}

func copyAs(ctx context.Context, s Store, key string, rev Revision, as string) error {
	if copier, ok := s.(Copier); ok {
		if _, err := copier.CopyFrom(ctx, s, key, rev, as, nil); err == nil || definite(err) {
			return err
		}
	}
	o, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer o.Close()
	if have := o.Info().Revision; have != rev {
		return replacedMeanwhile(key, rev, have)
	}
	_, err = s.Put(ctx, as, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(o, 0, o.Info().Size))
		return err
	}, nil)
	return err
}

// DeleteVersions removes all versions and checkpoints of a workspace, and says how many there
// were.
func DeleteVersions(ctx context.Context, url string) (n int, err error) {
	u, err := ParseURL(url)
	if err == nil {
		err = u.IsVersion("delete the versions of")
	}
	if err != nil {
		return 0, err
	}
	err = u.withStore(ctx, func(s Store) error {
		infos, err := s.List(ctx, versionsOf(u.Key))
		all := versionsAmong(u.Key, infos)
		for _, c := range checkpointsAmong(u.Key, infos) {
			all = append(all, c.Version)
		}
		for _, v := range all {
			if err = Drop(ctx, s, v); err != nil {
				break
			}
			n++
		}
		return err
	})
	return n, err
}
