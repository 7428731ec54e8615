package cloud

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// Nothing is written to a bucket that ignores conditions.
func TestNotConditional(t *testing.T) {
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	m.unconditional = true
	err := f.put("dir/key", []byte("new"), "", nil)
	f.wantError(err, store.ErrNotConditional)
	f.wantError(f.put("dir/key", large(2), "", nil), store.ErrNotConditional)
	if len(m.objects) != 0 || len(m.uploads) != 0 {
		t.Errorf("left at the store: %v, %v", m.objects, m.uploads)
	}
	m.unconditional = false
	f.noError(f.put("dir/key", []byte("new"), "", nil)) // a no is not remembered
}

// A server can honour the conditions of one kind of request and not of another.
func TestNotConditionalInPart(t *testing.T) {
	f := newFixture(t)
	f.m.endpoint += " again"
	f.m.fails("complete", func(_ context.Context, do func() error) error {
		f.m.unconditional = true
		defer func() { f.m.unconditional = false }()
		return do()
	})
	f.wantError(f.put("key", large(2), f.base.Revision, nil), store.ErrNotConditional)
	f.m.deletesUnasked = true
	f.wantError(f.delete("key"), store.ErrNotConditional)
	f.m.fails("put", pass, refuse(Unsupported))
	f.m.endpoint += " again"
	f.wantError(f.put("key", []byte("new"), f.base.Revision, nil), store.ErrNotConditional)
	f.holds("key", baseContent)
}

// What was found is remembered for a bucket, not for a store; a probe whose answers
// are lost is repeated.
func TestProbe(t *testing.T) {
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	m.fails("put", loseAnswer, refuse(Busy))
	f.noError(f.put("dir/key", []byte("new"), "", nil))
	f.holds("dir/key", []byte("new"))
	m.sent()
	f.s = newMemoryStore(t, m)
	f.noError(f.put("dir/other", []byte("new"), "", nil))
	f.wantSent("put")
	f.noError(f.put("dir/large", large(2), "", nil))
	if sent := m.sent(); len(sent) < 10 {
		t.Errorf("uploads were not tried: %q", sent)
	}
	f.noError(f.delete("dir/large"))
	f.holds("dir/key", []byte("new"))
}

// Where something between us and the store sends a request twice, the answer to the
// second says that the scratch object has changed. That is no conflict of the archive's
// writers, and says nothing of the server.
func TestProbeDoubled(t *testing.T) {
	doubled := func(_ context.Context, do func() error) error { _ = do(); return do() }
	for kind, faults := range map[string][]fault{
		"put":      {doubled},                            // that makes the scratch object
		"put more": {pass, doubled},                      // that replaces it
		"delete":   {doubled},                            // not found is as good
		"remove":   {refuse(Changed)},                    // a copy comes between
		"complete": {pass, pass, doubled, pass, doubled}, // refuses the copy in its own way
	} {
		m := newMemory()
		f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
		content := []byte("new")
		request, _, _ := strings.Cut(kind, " ")
		switch request {
		case "complete":
			content = large(2)
		case "remove":
			request = "delete"
		}
		m.fails(request, faults...)
		f.noError(f.put("dir/key", content, "", nil))
		if len(m.objects) != 1 || len(m.faults[request]) > 0 {
			t.Errorf("%s: at the store are %d objects; %d faults were not met", kind, len(m.objects), len(m.faults[request]))
		}
	}
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	m.fails("put", doubled, doubled, doubled)
	err := f.put("dir/key", []byte("new"), "", nil)
	f.wantError(err, store.ErrUnreachable)
	if errors.Is(err, store.ErrConflict) || len(m.objects) != 0 {
		t.Errorf("at the store are %d objects, and the error is %v", len(m.objects), err)
	}
}

// A bucket in which nothing can be removed would keep our scratch objects, and the
// archives of emptied workspaces.
func TestProbeNotRemoved(t *testing.T) {
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	m.fails("delete", refuse(Denied))
	err := f.put("key", []byte("new"), "", nil)
	f.wantError(err, store.ErrNotAllowed)
	if !strings.Contains(err.Error(), "scratch object .workdir-probe-") {
		t.Errorf("the error does not tell what is left: %v", err)
	}
}

func TestScratchName(t *testing.T) {
	for name, dir := range map[string]string{
		"key": "", "a/b/key": "a/b/", "/key": "/",
		"a/" + strings.Repeat("x", 1000) + "/key": "a/",
		strings.Repeat("x", 1000) + "/key":        "",
	} {
		if got := scratchName(name); !strings.HasPrefix(got, dir+".workdir-probe-") || strings.HasSuffix(got, suffix) {
			t.Errorf("the scratch object of %.20q is %q", name, got)
		}
	}
}

func TestCopy(t *testing.T) {
	f := newFixture(t)
	info, err := f.s.CopyFrom(t.Context(), f.s, "key", f.base.Revision, "copy", nil)
	f.noError(err)
	f.holds("copy", baseContent)
	if info.Revision != f.stat("copy").Revision || info.Key != "copy" {
		t.Errorf("the copy is %+v", info)
	}
	f.m.sent()
	_, err = f.s.CopyFrom(t.Context(), f.s, "key", f.base.Revision, "copy", nil)
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Have != info.Revision {
		t.Errorf("a copy onto another archive returns %v", err)
	}
	_, err = f.s.CopyFrom(t.Context(), f.s, "key", "old", "other", nil)
	f.wantError(err, store.ErrConflict)
	_, err = f.s.CopyFrom(t.Context(), f.s, "none", "gone", "other", nil)
	f.wantError(err, store.ErrConflict)
	_, err = f.s.CopyFrom(t.Context(), newFixture(t).s, "key", f.base.Revision, "other", nil)
	f.wantError(err, errors.ErrUnsupported)
}
