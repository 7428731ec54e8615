package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/workdir/workdir/store"
)

// testListPages joins pages of every size, beginning after existing and missing names.
func testListPages(f *fixture) {
	pager, ok := f.store.(store.Pager)
	if !ok {
		return
	}
	var keys []string
	infos := map[string]store.Info{}
	for _, name := range []string{"a", "a-b", "a.b", "ab", "b", "b-", "c!d", "c", "ü", "z"} {
		keys = append(keys, "dir/"+name)
	}
	for _, key := range append(keys, "dir/a/beneath", "dir/aa/beneath", "dirs/other", "dir-/other") {
		infos[key] = f.put(key, text("%s", key), "")
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(fileName(a), fileName(b)) })
	for n := 1; n <= len(keys)+1; n++ {
		if got := f.pagesOf(pager, n, infos); !slices.Equal(got, keys) {
			f.Fatalf("the pages of %d have %q, want %q", n, got, keys)
		}
	}
	for _, after := range []string{"dir/", "dir/a", "dir/a+", "dir/aa", "dir/b", "dir/zz", "di", "e"} {
		page, _, err := pager.ListPage(f.ctx, "dir/", after, 100)
		f.noError(err)
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return fileName(key) <= fileName(after) })
		got := make([]string, 0, len(page))
		for _, info := range page {
			got = append(got, info.Key)
		}
		if !slices.Equal(got, want) {
			f.Errorf("after %q there are %q, want %q", after, got, want)
		}
	}
	page, more, err := pager.ListPage(f.ctx, "none/", "", 10)
	if err != nil || more || len(page) > 0 {
		f.Errorf("a page of nothing: %v, %v, %v", page, more, err)
	}
	for _, prefix := range []string{"../", "a/../../"} {
		_, _, err := pager.ListPage(f.ctx, prefix, "", 10)
		f.wantError(err, store.ErrURL)
	}
	f.pagesBehindOthers(pager)
}

// fileName is the sort key of pages.
func fileName(key string) string { return key + ".tar.gz" }

// pagesOf lists a directory in pages of n, and returns the keys. infos are what Put returned.
func (f *fixture) pagesOf(pager store.Pager, n int, infos map[string]store.Info) (keys []string) {
	f.Helper()
	for after, more := "", true; more; {
		var page []store.Info
		var err error
		page, more, err = pager.ListPage(f.ctx, "dir/", after, n)
		f.noError(err)
		if len(page) > n || more && len(page) == 0 {
			f.Fatalf("a page of %d after %q has %d, more: %v", n, after, len(page), more)
		}
		for _, info := range page {
			if want := infos[info.Key]; info.Revision != want.Revision || info.Size != want.Size {
				f.Fatalf("the page has %+v, Put returned %+v", info, want)
			}
			keys = append(keys, info.Key)
			after = info.Key
		}
	}
	return keys
}

// pagesBehindOthers gets a page after many others.
func (f *fixture) pagesBehindOthers(pager store.Pager) {
	f.Helper()
	for i := range 30 {
		f.put(fmt.Sprintf("many/%02d", i), nil, "")
	}
	page, more, err := pager.ListPage(f.ctx, "many/", "many/26", 2)
	f.noError(err)
	if len(page) != 2 || page[0].Key != "many/27" || !more {
		f.Errorf("after many/26 there are %v, more: %v", page, more)
	}
}
