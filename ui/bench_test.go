package ui

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// largeStore is a store of 10,000 workspaces in "many", one of 1,000 commits that are all
// kept, and one of 100,000 names in 100 directories, of which one has 50,000, and a file of
// 100 MB, in two versions.
func largeStore(b *testing.B) string {
	b.Helper()
	dir, source := b.TempDir(), b.TempDir()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	store100 := store.Keep{Last: 2000}
	commit := func(name string) {
		b.Helper()
		_, err := workspace.Import(b.Context(), source, "file://"+dir+"/"+name, &workspace.ImportOptions{ReplaceAny: true, Keep: store100})
		must(err)
	}
	write := func(name string, content []byte) {
		b.Helper()
		name = filepath.Join(source, name)
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		must(os.WriteFile(name, content, 0o644))
	}
	for i := range 1000 {
		write("f", fmt.Appendln(nil, i))
		commit("commits")
	}
	one, err := os.ReadFile(filepath.Join(dir, "commits.tar.gz"))
	must(err)
	must(os.Mkdir(filepath.Join(dir, "many"), 0o755))
	for i := range 10_000 {
		must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("many/w%05d.tar.gz", i)), one, 0o644))
	}
	for i := range 50_000 {
		write(fmt.Sprintf("wide/f%05d", i), nil)
		write(fmt.Sprintf("d%02d/f%05d", i%100, i), []byte("text\n"))
	}
	big := make([]byte, 100<<20)
	_, err = rand.Read(big)
	must(err)
	write("big", big)
	write("big.txt", []byte(strings.Repeat("a line of text\n", 7_000_000)))
	commit("tree")
	write("f", []byte("other\n"))
	write("d07/new", nil)
	copy(big[50<<20:], "other")
	write("big", big)
	commit("tree")
	return dir
}

// reportCPU reports the time of the processor, which a busy machine does not lengthen as it
// does the other.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric((used()-before).Seconds()*1000/float64(b.N), "cpu-ms/op") }
}

// BenchmarkViews measures each view, of a server that has just begun and of one that has
// looked at it before.
func BenchmarkViews(b *testing.B) {
	dir := largeStore(b)
	begin := func(b *testing.B) *Handler {
		b.Helper()
		h, err := NewHandler("file://"+dir, hostOfTest, &Options{RunDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(h.Close)
		return h
	}
	get := func(b *testing.B, h *Handler, path string) string {
		b.Helper()
		r := httptest.NewRequest(http.MethodGet, "http://"+hostOfTest+path, nil)
		r.AddCookie(&http.Cookie{Name: h.cookie(), Value: h.token})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%s: %d: %s", path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	diff := regexp.MustCompile(`/diff\?[^"]*`).FindString(get(b, begin(b), "/workspace?name=tree"))
	diff = strings.ReplaceAll(diff, "&amp;", "&")
	for _, v := range []struct{ name, path string }{
		{"10,000 workspaces", "/?name=many"}, {"10,000 workspaces, the last page", "/?name=many&after=w09799"},
		{"a workflow among 10,000", "/workflow?workflow=none"}, {"1,000 commits", "/workspace?name=commits"},
		{"root of 100,000 names", "/tree?name=tree"}, {"directory of 50,000 names", "/tree?name=tree&path=wide&after=f40000"},
		{"text of 100 MB", "/file?name=tree&path=big.txt"}, {"text of 100 MB, in the middle", "/file?name=tree&path=big.txt&off=52428800"},
		{"binary of 100 MB", "/file?name=tree&path=big"}, {"what changed of 100,000 names", diff},
		{"what changed of a line", diff + "&path=f"}, {"what changed of 100 MB", diff + "&path=big"},
	} {
		b.Run(v.name+"/cold", func(b *testing.B) {
			defer reportCPU(b)()
			for b.Loop() {
				get(b, begin(b), v.path)
			}
		})
		b.Run(v.name+"/warm", func(b *testing.B) {
			h := begin(b)
			get(b, h, v.path)
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				get(b, h, v.path)
			}
		})
	}
}
