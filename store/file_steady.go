package store

import (
	"context"
	"errors"
	"time"

	"github.com/workdir/workdir/archive"
)

// A tool that writes an archive in place, as the Python temporal-workdir does, leaves the file
// empty for a moment, and then incomplete. Opening it at that moment must not report a damaged
// archive.

const (
	// steadyPause is how long a file must be unchanged to count as written.
	steadyPause = 250 * time.Millisecond
	// steadyPatience bounds the wait for that, and for an empty file to get content.
	steadyPatience = 5 * time.Second
	// youth is the age up to which a file may still be being written. It is longer than
	// steadyPause, because the clock of a file server may differ from ours.
	youth = 2 * time.Second
)

// openSteady opens an archive once no tool is writing it.
func (s *fileStore) openSteady(ctx context.Context, key string) (*fileObject, error) {
	o, err := s.open(ctx, key)
	for began := time.Now(); errors.Is(err, errUnsteady) || err == nil && o.maybeUnfinished(); {
		var was *found
		if err == nil {
			was = o.found
			_ = o.Close()
		}
		if time.Since(began) > steadyPatience {
			return nil, errUnsteady
		}
		if err := pause(ctx, steadyPause); err != nil {
			return nil, err
		}
		o, err = s.open(ctx, key)
		if err == nil && was != nil && o.found.revision == was.revision && was.stamp.size > 0 {
			break
		}
	}
	return o, err
}

// maybeUnfinished reports whether a tool may still be writing the file. A write or truncation
// sets mtime and ctime to the same time; our own commits do not, and neither does a chmod or
// rename of a finished file. An archive with a commit log at its end is complete.
func (o *fileObject) maybeUnfinished() bool {
	seen := o.found.stamp
	limit := youth
	if seen.size == 0 {
		limit = steadyPatience
	}
	if time.Since(seen.time()).Abs() > limit || o.found.stat.Ctim != o.found.stat.Mtim {
		return false
	}
	log, err := archive.ReadLog(o, seen.size)
	return err != nil || log == nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ContextError(ctx)
	case <-time.After(d):
		return nil
	}
}
