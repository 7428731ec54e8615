package cloud

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// memory is a Backend in memory that honours conditions, and whose requests meet
// faults.
type memory struct {
	endpoint string

	mu       sync.Mutex
	objects  map[string]memoryObject
	uploads  map[*memoryUpload]bool // that are neither complete nor aborted
	revision int
	faults   map[string][]fault // by kind, for the next requests
	requests []string           // kinds of all so far

	parallel       int  // MaxParts
	page           int  // most objects in a page
	copiesAny      bool // ignores the revision of the source of a copy
	unconditional  bool // ignores conditions
	noBucket       bool
	deletesUnasked bool // ignores the condition of Delete
}

type memoryObject struct {
	content []byte
	Attributes
}

// A fault decides what becomes of one request; do does it.
type fault func(ctx context.Context, do func() error) error

func newMemory() *memory {
	return &memory{
		endpoint: rand.Text(), objects: map[string]memoryObject{}, uploads: map[*memoryUpload]bool{},
		faults: map[string][]fault{}, parallel: 8, page: 100,
	}
}

// newMemoryStore returns a store on m that waits for nothing long.
func newMemoryStore(t *testing.T, m *memory) *cloudStore {
	t.Helper()
	s, ok := NewStore(m, "", nil).(*cloudStore)
	if !ok {
		t.Fatal("NewStore gives another type")
	}
	s.pause, s.answerTime, s.linger = time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	return s
}

// fails makes the next requests of a kind meet faults.
func (m *memory) fails(kind string, faults ...fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[kind] = append(m.faults[kind], faults...)
}

// sent returns the kinds of the requests since the last call.
func (m *memory) sent() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := m.requests
	m.requests = nil
	return sent
}

// refuse is a fault: the request is not done.
func refuse(meaning Meaning) fault {
	return func(context.Context, func() error) error { return refusalError(meaning) }
}

// loseAnswer is a fault: the request is done, but its answer is lost.
func loseAnswer(_ context.Context, do func() error) error {
	_ = do()
	return refusalError(Broken)
}

// pass lets a request through.
func pass(_ context.Context, do func() error) error { return do() }

// refusalError is what a memory's requests fail with.
type refusalError Meaning

func (e refusalError) Error() string { return fmt.Sprintf("refused (%d)", int(e)) }

func (m *memory) Classify(err error) Refusal {
	var refusal refusalError
	if errors.As(err, &refusal) {
		return Refusal{Meaning: Meaning(refusal)}
	}
	return Refusal{}
}

// request makes one request, with the fault that waits for it. do is called with m
// locked.
func (m *memory) request(ctx context.Context, kind string, do func() error) error {
	m.mu.Lock()
	m.requests = append(m.requests, kind)
	act := fault(pass)
	if waiting := m.faults[kind]; len(waiting) > 0 {
		act, m.faults[kind] = waiting[0], waiting[1:]
	}
	m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return act(ctx, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.noBucket {
			return refusalError(NotFound)
		}
		return do()
	})
}

func (m *memory) Bucket() string   { return "memory://bucket" }
func (m *memory) Endpoint() string { return m.endpoint }
func (m *memory) Close() error     { return nil }

func (m *memory) Tries() []Kind {
	return []Kind{KindPut, KindComplete, KindDelete, KindCopy}
}
func (m *memory) CheckName(string) error { return nil }

// check holds a condition on a name. Preconditions: m is locked.
func (m *memory) checkLocked(name string, cond Condition) error {
	if !m.unconditional && m.objects[name].Revision != cond.Replace {
		return refusalError(Changed)
	}
	return nil
}

// storeLocked stores an object. Preconditions: m is locked.
func (m *memory) storeLocked(name string, content []byte, cond Condition) (Attributes, error) {
	if err := m.checkLocked(name, cond); err != nil {
		return Attributes{}, err
	}
	m.revision++
	o := memoryObject{content, Attributes{Revision: store.Revision(fmt.Sprintf("r%d", m.revision)), Size: int64(len(content)), ModTime: time.Now()}}
	m.objects[name] = o
	return o.Attributes, nil
}

func (m *memory) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (body Body, err error) {
	err = m.request(ctx, "get", func() error {
		o, ok := m.objects[name]
		switch {
		case !ok:
			return refusalError(NotFound)
		case rev != "" && o.Revision != rev:
			return refusalError(Changed)
		case off < 0:
			off, length = max(0, o.Size+off), -1
		}
		if off >= o.Size {
			return refusalError(OutOfRange)
		}
		rest := o.content[off:]
		if length >= 0 {
			rest = rest[:min(length, int64(len(rest)))]
		}
		body = Body{io.NopCloser(bytes.NewReader(rest)), o.Attributes}
		return nil
	})
	var cut cutAfter
	if errors.As(err, &cut) {
		return Body{io.NopCloser(io.MultiReader(io.LimitReader(body, int64(cut)), broken0{})), body.Attributes}, nil
	}
	return body, err
}

func (m *memory) HasTail() bool { return true }

// cutAfter is the error of a fault that lets a Get succeed, and its body break
// after so many bytes.
type cutAfter int

func (cutAfter) Error() string { return "cut" }

func cut(n int) fault {
	return func(_ context.Context, do func() error) error { return errors.Join(do(), cutAfter(n)) }
}

type broken0 struct{}

func (broken0) Read([]byte) (int, error) { return 0, refusalError(Broken) }

func (m *memory) Head(ctx context.Context, name string) (a Attributes, err error) {
	err = m.request(ctx, "head", func() error {
		o, ok := m.objects[name]
		if !ok {
			return refusalError(NotFound)
		}
		a = o.Attributes
		return nil
	})
	return a, err
}

func (m *memory) Put(ctx context.Context, name string, body []byte, cond Condition) (a Attributes, err error) {
	err = m.request(ctx, "put", func() (err error) {
		a, err = m.storeLocked(name, bytes.Clone(body), cond)
		a.Size = 0 // an answer to a write need not have it
		return err
	})
	return a, err
}

// Duplicate implements Duplicator.
func (m *memory) Duplicate(ctx context.Context, name, src string, rev store.Revision) error {
	return m.request(ctx, "copy", func() error {
		o, ok := m.objects[src]
		switch {
		case !ok:
			return refusalError(NotFound)
		case o.Revision != rev:
			return refusalError(Changed)
		}
		_, err := m.storeLocked(name, o.content, Condition{Replace: m.objects[name].Revision})
		return err
	})
}

func (m *memory) Delete(ctx context.Context, name string, rev store.Revision) error {
	return m.request(ctx, "delete", func() error {
		if _, ok := m.objects[name]; !ok {
			return refusalError(NotFound)
		}
		if err := m.checkLocked(name, Condition{Replace: rev}); err != nil && !m.deletesUnasked {
			return err
		}
		delete(m.objects, name)
		return nil
	})
}

func (m *memory) Page(ctx context.Context, r PageRequest) (page Page, err error) {
	err = m.request(ctx, "list", func() error {
		names := map[string]bool{}
		for name := range m.objects {
			rest, found := strings.CutPrefix(name, r.Prefix)
			if i := strings.Index(rest, "/"); i >= 0 && !r.Deep {
				name = r.Prefix + rest[:i+1]
			}
			if found && name >= r.Start && name > string(r.Token) {
				names[name] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if len(page.Objects) == m.page || len(page.Objects) == r.Size && r.Size > 0 {
				page.Next = []byte(page.Objects[len(page.Objects)-1].Name)
				break
			}
			page.Objects = append(page.Objects, Listed{name, m.objects[name].Attributes})
		}
		return nil
	})
	return page, err
}

func (m *memory) Accessible(ctx context.Context, _ string) error {
	return m.request(ctx, "bucket", func() error { return nil })
}

func (m *memory) Upload(ctx context.Context, name string, cond Condition, src *Source) (Upload, error) {
	if src != nil && src.Backend != Backend(m) {
		return nil, errors.ErrUnsupported
	}
	u := &memoryUpload{m: m, name: name, cond: cond, src: src, parts: map[int][]byte{}}
	err := m.request(ctx, "upload", func() error {
		m.uploads[u] = true
		return nil
	})
	return u, err
}

// memoryUpload is guarded by the mutex of its memory.
type memoryUpload struct {
	m     *memory
	name  string
	cond  Condition
	src   *Source
	parts map[int][]byte
}

const (
	minMemoryPart = 1 << 20 // of all parts but the last
	maxMemoryCopy = 5 << 20 // at once
)

func (u *memoryUpload) MaxParts() int { return u.m.parallel }

func (u *memoryUpload) Kept(off, end, before int64) (from, to int64) {
	if before > 0 && before < minMemoryPart {
		off += minMemoryPart - before
	}
	if end-off < minMemoryPart && end != u.src.Size {
		return end, end
	}
	if end-off > maxMemoryCopy+minMemoryPart {
		end = off + maxMemoryCopy
	}
	return off, max(off, end)
}

func (u *memoryUpload) Copy(ctx context.Context, n int, off, end int64) error {
	return u.m.request(ctx, "copy", func() error {
		o, ok := u.m.objects[u.src.Name]
		switch {
		case !ok:
			return refusalError(NotFound)
		case o.Revision != u.src.Revision && !u.m.copiesAny:
			return refusalError(Changed)
		case off >= end: // no cloud copies nothing
			return refusalError(Other)
		}
		u.parts[n] = o.content[off:end]
		return nil
	})
}

func (u *memoryUpload) Part(ctx context.Context, n int, p []byte) error {
	return u.m.request(ctx, "part", func() error {
		if len(p) > PartSize(n) {
			return fmt.Errorf("part %d has %d bytes", n, len(p))
		}
		if u.m.parallel == 1 && len(u.parts) != n-1 {
			return fmt.Errorf("part %d comes after %d", n, len(u.parts))
		}
		if u.m.parallel == 1 { // as Google Cloud Storage looks before the end
			if err := u.m.checkLocked(u.name, u.cond); err != nil {
				return err
			}
		}
		u.parts[n] = bytes.Clone(p)
		return nil
	})
}

func (u *memoryUpload) Complete(ctx context.Context, cond Condition) (a Attributes, err error) {
	err = u.m.request(ctx, "complete", func() (err error) {
		if !u.m.uploads[u] {
			return refusalError(Broken) // as S3 answers to one that is complete
		}
		var content []byte
		for n := 1; n <= len(u.parts); n++ {
			if len(u.parts[n]) < minMemoryPart && n < len(u.parts) || u.parts[n] == nil {
				return fmt.Errorf("part %d has %d bytes", n, len(u.parts[n]))
			}
			content = append(content, u.parts[n]...)
		}
		a, err = u.m.storeLocked(u.name, content, cond)
		if err == nil {
			delete(u.m.uploads, u)
		}
		return err
	})
	return a, err
}

func (u *memoryUpload) Abort(ctx context.Context) error {
	return u.m.request(ctx, "abort", func() error {
		delete(u.m.uploads, u)
		return nil
	})
}

// litter returns what is there beside archives.
func (m *memory) litter() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []string
	for u := range m.uploads {
		found = append(found, "upload of "+u.name)
	}
	for name := range m.objects {
		if !strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}
