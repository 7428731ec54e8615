package storetest

import (
	"errors"

	"github.com/workdir/workdir/store"
)

// testKeep keeps an archive under a second key, which later commits do not change, and drops
// it.
func testKeep(f *fixture) {
	keeper, ok := f.store.(store.Keeper)
	if !ok {
		f.Fatal("the store is not a store.Keeper")
	}
	const key, as = "dir/key", "dir/.workdir-versions/key/0123456789abcdef0123456789abcdef"
	old, next := f.pattern('a'), f.pattern('b')
	f.wantGone(keeper.Keep(f.ctx, key, "1", as))
	first := f.put(key, old, "").Revision
	f.wantGone(keeper.Keep(f.ctx, key, first+"1", as))
	f.missing(as)
	f.noError(keeper.Keep(f.ctx, key, first, as))
	f.holds(key, old, first)
	second := f.put(key, next, first).Revision
	f.wantGone(keeper.Keep(f.ctx, key, first, as+"0"))
	f.missing(as + "0")

	infos, err := f.store.List(f.ctx, "dir/.workdir-versions/key/")
	f.noError(err)
	if len(infos) != 1 || infos[0].Key != as {
		f.Fatalf("List shows the versions %+v, want one of %s", infos, as)
	}
	f.holds(as, old, infos[0].Revision)
	f.lists("dir/", map[string]store.Info{key: {Key: key, Revision: second, Size: int64(len(next))}}, key)
	f.noError(keeper.Drop(f.ctx, as, infos[0].Revision))
	f.missing(as)
	if err := keeper.Drop(f.ctx, as, infos[0].Revision); err != nil {
		f.wantGone(err)
	}
	f.holds(key, next, second)

	f.noError(keeper.Keep(f.ctx, key, second, as))
	f.noError(keeper.Keep(f.ctx, key, second, as)) // a retried commit
	f.forget(key)
	infos, err = f.store.List(f.ctx, "dir/.workdir-versions/key/")
	f.noError(err)
	f.holds(as, next, infos[0].Revision)
	f.noError(keeper.Drop(f.ctx, as, infos[0].Revision))
}

// wantGone checks the error for a revision that does not exist.
func (f *fixture) wantGone(err error) {
	f.Helper()
	if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotExist) {
		f.Fatalf("of a revision that is not there: %v", err)
	}
}
