package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/workdir/workdir/store"
)

func testMissing(f *fixture) {
	for _, key := range []string{"none", "no/such/key"} {
		f.missing(key)
		f.wantError(f.store.Delete(f.ctx, key, "some-revision", nil), store.ErrNotExist)
		_, err := f.store.Put(f.ctx, key, writes(text("new")), &store.PutOptions{Replace: "some-revision"})
		f.wantConflict(err, "some-revision", "")
		f.missing(key)
	}
}

func testCreate(f *fixture) {
	first := f.text("first")
	info, err := f.store.Put(f.ctx, "dir/key", writes(first), nil)
	f.noError(err)
	if info.Key != "dir/key" || info.Revision == "" || info.Size != int64(len(first)) || info.ModTime.IsZero() {
		f.Fatalf("Put returns %+v", info)
	}
	f.holds("dir/key", first, info.Revision)
	_, err = f.store.Put(f.ctx, "dir/key", writes(f.text("second")), nil)
	f.wantConflict(err, "", info.Revision)
	f.holds("dir/key", first, info.Revision)
}

func testReplace(f *fixture) {
	seen := map[store.Revision]bool{}
	var old, rev store.Revision
	for i := range 5 {
		content := f.text("revision %d", i)
		old, rev = rev, f.put("key", content, rev).Revision
		if seen[rev] {
			f.Fatalf("revision %q has come back", rev)
		}
		seen[rev] = true
		f.holds("key", content, rev)
		for _, wrong := range []store.Revision{"", old, "never-was"} {
			_, err := f.store.Put(f.ctx, "key", writes(f.text("wrong")), &store.PutOptions{Replace: wrong})
			f.wantConflict(err, wrong, rev)
		}
		f.holds("key", content, rev)
	}
}

func testDelete(f *fixture) {
	first := f.put("key", f.text("first"), "")
	other := f.text("other")
	otherRev := f.put("other", other, "").Revision
	content := f.text("second")
	second := f.put("key", content, first.Revision)
	f.wantConflict(f.store.Delete(f.ctx, "key", first.Revision, nil), first.Revision, second.Revision)
	f.wantConflict(f.store.Delete(f.ctx, "key", "", nil), "", second.Revision)
	f.holds("key", content, second.Revision)
	f.noError(f.store.Delete(f.ctx, "key", second.Revision, nil))
	f.missing("key")
	f.wantError(f.store.Delete(f.ctx, "key", second.Revision, nil), store.ErrNotExist)
	_, err := f.store.Put(f.ctx, "key", writes(f.text("third")), &store.PutOptions{Replace: second.Revision})
	f.wantConflict(err, second.Revision, "")
	content = f.text("fourth")
	f.holds("key", content, f.put("key", content, "").Revision)
	f.holds("other", other, otherRev)
}

// oddKeys are keys that ParseURL accepts but that a server or tool could decode, clean or cut.
var oddKeys = []string{
	"plain", "Plain", "with space", "a%20b", "a+b&c=d", "ü/ö", "x.tar.gz", "x", ".hidden", "..dots..",
	"back\\slash", `quo"te'`, "semi;colon", "star*[a-z]", "tilde~", "f", "f/g", "f/g/h", "emoji-🗄",
	"long-" + strings.Repeat("x", 240), "deep/" + strings.Repeat("d/", 40) + "end",
}

// longKey makes an object's name of 1,024 bytes, from segments that every file system accepts.
func longKey() string {
	const length = 1024 - len(".tar.gz")
	key := strings.Repeat(strings.Repeat("k", 199)+"/", 5)
	return key + strings.Repeat("l", length-len(key))
}

func testKeys(f *fixture) {
	f.keepsApart(append(oddKeys, longKey()))
}

func testEmptySegments(f *fixture) {
	f.keepsApart([]string{"a/b", "a//b", "a///b", "/a/b", "//a/b"})
}

// keepsApart checks that each key has an archive of its own.
func (f *fixture) keepsApart(keys []string) {
	f.Helper()
	revisions := map[string]store.Revision{}
	for _, key := range keys {
		revisions[key] = f.put(key, []byte("content of "+key), "").Revision
	}
	for _, key := range keys {
		f.holds(key, []byte("content of "+key), revisions[key])
	}
	for _, key := range keys {
		f.noError(f.store.Delete(f.ctx, key, revisions[key], nil))
		f.missing(key)
	}
}

// No key may reach outside of a store.
func testBadKeys(f *fixture) {
	for _, key := range []string{"", "../up", "a/../../up", "a/./b", "a/..", "slash/", "a\nb", "a\x7f", "\u0085", "\xff"} {
		_, err := f.store.Stat(f.ctx, key)
		f.wantError(err, store.ErrURL)
		_, err = f.store.Open(f.ctx, key)
		f.wantError(err, store.ErrURL)
		_, err = f.store.Put(f.ctx, key, writes(text("bad")), nil)
		f.wantError(err, store.ErrURL)
		f.wantError(f.store.Delete(f.ctx, key, "some-revision", nil), store.ErrURL)
	}
	for _, prefix := range []string{"../", "a/../../"} {
		_, err := f.store.List(f.ctx, prefix)
		f.wantError(err, store.ErrURL)
	}
}

func testList(f *fixture) {
	keys := []string{"a", "a-b", "a.b", "ab", "a/b", "a/c", "a/c/d", "b/x", "b/y.tar.gz", ".h", "Z", "ü"}
	infos := map[string]store.Info{}
	for i, key := range keys {
		infos[key] = f.put(key, text("%*d", 10+i, i), "")
	}
	f.lists("", infos, "a", "a-b", "a.b", "ab", ".h", "Z", "ü")
	f.lists("a/", infos, "a/b", "a/c")
	f.lists("a/c/", infos, "a/c/d")
	f.lists("b/", infos, "b/x", "b/y.tar.gz")
	f.lists("ab/", infos)
	f.lists("none/", infos)
	f.lists("none/none/", infos)
	f.noError(f.store.Delete(f.ctx, "a/b", infos["a/b"].Revision, nil))
	infos["a/c"] = f.put("a/c", text("new"), infos["a/c"].Revision)
	f.lists("a/", infos, "a/c")
	f.noError(f.store.Delete(f.ctx, "a/c", infos["a/c"].Revision, nil))
	f.lists("a/", infos)
	f.many(60)
}

// many checks a listing that is longer than the others.
func (f *fixture) many(n int) {
	infos := map[string]store.Info{}
	var keys []string
	for i := range n {
		key := fmt.Sprintf("many/%d", i)
		keys = append(keys, key)
		infos[key] = f.put(key, text("%d", i), "")
	}
	f.lists("many/", infos, keys...)
}

// lists checks that the listing of prefix matches the results of the Puts of these keys.
func (f *fixture) lists(prefix string, infos map[string]store.Info, keys ...string) {
	f.Helper()
	slices.SortFunc(keys, cmp.Compare[string])
	got, err := f.store.List(f.ctx, prefix)
	f.noError(err)
	var gotKeys []string
	for _, info := range got {
		gotKeys = append(gotKeys, info.Key)
	}
	if !slices.Equal(gotKeys, keys) {
		f.Fatalf("List of %q returns %q, want %q", prefix, gotKeys, keys)
	}
	for _, info := range got {
		want := infos[info.Key]
		if info.Revision != want.Revision || info.Size != want.Size || info.ModTime.IsZero() {
			f.Fatalf("List returns %+v, Put returned %+v", info, want)
		}
	}
}

func testEmpty(f *fixture) {
	info := f.put("key", nil, "")
	f.holds("key", nil, info.Revision)
	info = f.put("key", text("more"), info.Revision)
	info = f.put("key", nil, info.Revision)
	f.holds("key", nil, info.Revision)
}

// testSizes tests sizes around the borders of the parts in which an archive is sent.
func testSizes(f *fixture) {
	part := f.opts.Threshold
	for _, size := range []int{1, part - 1, part, part + 1, 2 * part, 2*part + 1} {
		key := fmt.Sprintf("size-%d", size)
		content := random(uint64(size), size)
		f.holds(key, content, f.put(key, content, "").Revision)
		f.forget(key)
	}
}
