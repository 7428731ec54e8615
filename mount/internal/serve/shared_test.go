package serve

import (
	"errors"
	"testing"

	"github.com/workdir/workdir/store"
)

// A poisoned tree stays with its users; the next mount opens the archive again.
func TestPoisonedTreeIsNotShared(t *testing.T) {
	tree := newTestTree(t, 1<<20)
	srv := newServer(nil)
	defer srv.freeing.Wait()
	s := &srv.sharing
	key, rev, first, second := shareKey{url: store.URL{Scheme: "mem", Bucket: "a", Key: "b"}}, store.Revision("1"), &hosted{server: srv}, &hosted{server: srv}
	if got, wait := s.look(key, nil, first); got != nil || wait != nil {
		t.Fatal("the first is not told to open")
	}
	own := &sharedTree{sharing: s, key: key, stop: func() {}, done: make(chan struct{}), loaded: loaded{tree: tree}}
	s.opened(key, rev, own, first)
	close(own.done)
	if got, _ := s.look(key, &rev, second); got != own {
		t.Fatal("a good tree is not shared")
	}
	tree.Poison(errors.New("a panic"))
	if got, wait := s.look(key, &rev, &hosted{}); got != nil || wait != nil {
		t.Fatal("a poisoned tree is shared")
	}
	s.opened(key, "", nil, nil)
	own.release(first)
	own.release(second)
	if len(s.groups) > 0 {
		t.Error("a group without users stays")
	}
}
