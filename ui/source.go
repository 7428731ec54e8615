package ui

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// errTarget says that there is no page for a target.
var errTarget = errors.New("no such page")

// maxOpen is how many snapshots stay open. Each holds a descriptor or a connection, and an
// index in memory.
const maxOpen = 8

// source reads the workspaces beneath a prefix. It keeps recently used snapshots open,
// because someone who views one page of a workspace is likely to view others.
type source struct {
	ctx     context.Context // ends the reads of snapshots; immutable
	prefix  store.URL       // immutable
	patient bool            // heads waits for every log; immutable

	mu   sync.Mutex
	open []*shared // guarded by mu; most recently used first

	logs logCache
}

// shared is a snapshot that several requests may read.
type shared struct {
	*workspace.Snapshot
	url   string // with the commit
	users int    // guarded by source.mu
	gone  bool   // guarded by source.mu; its last user closes it
}

// url returns the URL of a target's workspace, at the target's commit if it has one.
func (s *source) url(t target) (string, error) {
	u := s.prefix
	u.Key = path.Join(u.Key, t.Name)
	// A name that cleaning would change could lead out of the prefix.
	if t.Name == "" || strings.TrimPrefix(strings.TrimPrefix(u.Key, s.prefix.Key), "/") != t.Name {
		return "", fmt.Errorf("%w: %q is no name of a workspace", errTarget, t.Name)
	}
	if parsed, err := store.ParseURL(u.String()); err != nil || parsed != u {
		return "", fmt.Errorf("%w: %q is no name of a workspace", errTarget, t.Name)
	}
	if u, err := versioned(u, t.At); err == nil {
		return u.String(), nil
	}
	return "", fmt.Errorf("%w: %q is no commit", errTarget, t.At)
}

// snapshot returns an open snapshot of a workspace. The caller calls release when done.
func (s *source) snapshot(ctx context.Context, t target) (snap *workspace.Snapshot, release func(), err error) {
	url, err := s.url(t)
	if err != nil {
		return nil, nil, err
	}
	var now store.Info
	if t.At == "" { // a version never changes, so there is no need to ask the store for it
		if now, err = store.Stat(ctx, url); err != nil {
			return nil, nil, err
		}
	}
	if found := s.use(url, now.Revision); found != nil {
		return found.Snapshot, func() { s.release(found) }, nil
	}
	opened, err := workspace.Open(s.ctx, url, nil)
	if err != nil {
		return nil, nil, err
	}
	kept := s.keep(&shared{Snapshot: opened, url: url, users: 1})
	return kept.Snapshot, func() { s.release(kept) }, nil
}

// use returns an open snapshot of a revision, with one more user, or nil. The revision of a
// version is "".
func (s *source) use(url string, rev store.Revision) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, sh := range s.open {
		if sh.url == url && (rev == "" || sh.Info().Revision == rev) {
			copy(s.open[1:i+1], s.open[:i])
			s.open[0] = sh
			sh.users++
			return sh
		}
	}
	return nil
}

// keep adds a snapshot to the open ones, and drops the least recently used beyond maxOpen.
func (s *source) keep(sh *shared) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append([]*shared{sh}, s.open...)
	if len(s.open) > maxOpen {
		last := s.open[maxOpen]
		s.open = s.open[:maxOpen]
		if last.gone = true; last.users == 0 {
			last.Close()
		}
	}
	return sh
}

func (s *source) release(sh *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.users--; sh.gone && sh.users == 0 {
		sh.Close()
	}
}

// close closes the snapshots that are not in use. The others are closed by their last user.
func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.open {
		if sh.gone = true; sh.users == 0 {
			sh.Close()
		}
	}
	s.open = nil
}

// Logs of many workspaces are read concurrently. A page waits for them only so long; a log
// that arrives later is shown the next time.
const (
	logReaders  = 16
	logPatience = 60 * time.Millisecond
	maxLogs     = 20_000
)

// logCache holds the last commit of workspaces by revision.
type logCache struct {
	mu    sync.Mutex
	heads map[logKey]*archive.Record // guarded by mu; nil for an archive without a log
}

type logKey struct {
	url string
	rev store.Revision
}

func (c *logCache) get(k logKey) (head *archive.Record, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	head, ok = c.heads[k]
	return head, ok
}

func (c *logCache) put(k logKey, head *archive.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heads) >= maxLogs || c.heads == nil {
		c.heads = map[logKey]*archive.Record{}
	}
	c.heads[k] = head
}

// heads returns the last commits of workspaces: nil for one that has no log, or whose log
// was not read in time.
func (s *source) heads(all []store.Workspace) []*archive.Record {
	var (
		work = make(chan store.Workspace)
		wg   sync.WaitGroup
		done = make(chan struct{})
	)
	for range logReaders {
		wg.Go(func() {
			for ws := range work {
				s.readHead(ws)
			}
		})
	}
	go func() {
		defer close(done)
		for _, ws := range all {
			if _, ok := s.logs.get(keyOf(ws)); !ok {
				work <- ws
			}
		}
		close(work)
		wg.Wait()
	}()
	var enough <-chan time.Time
	if !s.patient {
		enough = time.After(logPatience)
	}
	select {
	case <-done:
	case <-enough:
	}
	heads := make([]*archive.Record, len(all))
	for i, ws := range all {
		heads[i], _ = s.logs.get(keyOf(ws))
	}
	return heads
}

func keyOf(ws store.Workspace) logKey { return logKey{ws.URL.String(), ws.Revision} }

func (s *source) readHead(ws store.Workspace) {
	if s.ctx.Err() != nil {
		return
	}
	log, info, err := workspace.Log(s.ctx, ws.URL.String())
	if err != nil || info.Revision != ws.Revision {
		return // the workspace's own page shows the error
	}
	var head *archive.Record
	for r := range log.All() {
		head = r
		break
	}
	s.logs.put(keyOf(ws), head)
}

// longer returns the prefix extended by a name.
func (s *source) longer(name string) (store.URL, error) {
	u := s.prefix
	u.Key = path.Join(u.Key, name)
	if strings.TrimPrefix(strings.TrimPrefix(u.Key, s.prefix.Key), "/") != name {
		return u, fmt.Errorf("%w: %q is no prefix", errTarget, name)
	}
	if parsed, err := store.ParsePrefix(u.String()); err != nil || parsed != u {
		return u, fmt.Errorf("%w: %q is no prefix", errTarget, name)
	}
	return u, nil
}
