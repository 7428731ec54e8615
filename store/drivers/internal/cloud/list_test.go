package cloud

import (
	"slices"
	"testing"

	"github.com/workdir/workdir/store"
)

// All levels are listed by the keys that lead to the archives, and nothing else is.
func TestListAll(t *testing.T) {
	f := newFixture(t) // with an archive of 4 bytes at "key"
	for _, key := range []string{"b", "a", "a/x", "a/y/z", "ab/c", "a//d"} {
		f.noError(f.put(key, []byte("content"), "", nil))
	}
	f.m.objects["a/other"] = f.m.objects["a.tar.gz"]
	f.m.objects["a/.tar.gz"] = f.m.objects["a.tar.gz"]
	for prefix, want := range map[string][]string{
		"":      {"a", "a//d", "a/x", "a/y/z", "ab/c", "b", "key"},
		"a/":    {"a//d", "a/x", "a/y/z"},
		"none/": nil,
	} {
		infos, err := f.s.ListAll(t.Context(), prefix)
		f.noError(err)
		var keys []string
		for _, i := range infos {
			keys = append(keys, i.Key)
			if i.Size != 7 && i.Key != "key" || i.Revision == "" {
				t.Errorf("listed: %+v", i)
			}
		}
		if !slices.Equal(keys, want) {
			t.Errorf("ListAll of %q returns %q, want %q", prefix, keys, want)
		}
	}
	_, err := f.s.ListAll(t.Context(), "../")
	f.wantError(err, store.ErrURL)
}
