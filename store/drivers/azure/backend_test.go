package azure

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// asked is a request as the service sees it.
type asked struct {
	*http.Request
	body string
}

// listening returns a backend, and the requests that it makes.
func listening(t *testing.T, answer http.HandlerFunc) (*backend, func() []asked) {
	t.Helper()
	var mu sync.Mutex
	var all []asked
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		all = append(all, asked{r, string(body)})
		mu.Unlock()
		answer(w, r)
	})
	return b, func() []asked {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func stored(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("ETag", `"0x2"`)
	w.WriteHeader(http.StatusCreated)
}

// Every write says what it replaces, and what arrives can be compared with what was
// sent.
func TestWrites(t *testing.T) {
	sum := md5.Sum([]byte("x"))
	digest := base64.StdEncoding.EncodeToString(sum[:])
	for _, tc := range []struct {
		name           string
		cond           cloud.Condition
		match, noMatch string
	}{
		{"create", cloud.Condition{}, "", "*"},
		{"replace", cloud.Condition{Replace: "0x1"}, `"0x1"`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, requests := listening(t, stored)
			put, err := b.Put(t.Context(), "k", []byte("x"), tc.cond)
			if err != nil || put.Revision != "0x2" {
				t.Errorf("Put returns %+v, %v", put, err)
			}
			u, err := b.Upload(t.Context(), "k", tc.cond, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := u.Part(t.Context(), 1, []byte("x")); err != nil {
				t.Error(err)
			}
			done, err := u.Complete(t.Context(), tc.cond)
			if err != nil || done.Revision != "0x2" {
				t.Errorf("Complete returns %+v, %v", done, err)
			}
			all := requests()
			if len(all) != 3 {
				t.Fatalf("%d requests", len(all))
			}
			for _, i := range []int{0, 2} {
				h := all[i].Header
				if h.Get("If-Match") != tc.match || h.Get("If-None-Match") != tc.noMatch || h.Get("x-ms-blob-content-type") != "application/gzip" {
					t.Errorf("request %d has the headers %v", i, h)
				}
			}
			for _, i := range []int{0, 1} {
				if got := all[i].Header.Get("Content-MD5"); got != digest || all[i].body != "x" {
					t.Errorf("request %d has the digest %q and the body %q", i, got, all[i].body)
				}
			}
		})
	}
}

// The list has the blocks in order, whichever came first; their ids are of one
// length, and another upload's are others.
func TestBlocks(t *testing.T) {
	b, requests := listening(t, stored)
	var seen []string
	for range 2 {
		before := len(requests())
		u, err := b.Upload(t.Context(), "k", cloud.Condition{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[int]string{}
		for _, n := range []int{4, 2, 1, 3} {
			if err := u.Part(t.Context(), n, bytes.Repeat([]byte("x"), n)); err != nil {
				t.Fatal(err)
			}
			all := requests()
			ids[n] = all[len(all)-1].URL.Query().Get("blockid")
		}
		done, err := u.Complete(t.Context(), cloud.Condition{})
		if err != nil {
			t.Errorf("Complete returns %+v, %v", done, err)
		}
		all := requests()
		want := "<Latest>" + ids[1] + "</Latest><Latest>" + ids[2] + "</Latest><Latest>" + ids[3] + "</Latest><Latest>" + ids[4] + "</Latest>"
		if got := all[len(all)-1].body; !strings.Contains(got, want) || len(all) != before+5 {
			t.Errorf("the list is %s, want %s", got, want)
		}
		for _, id := range ids {
			if slices.Contains(seen, id) || len(id) != len(ids[1]) {
				t.Errorf("the ids are %v, and before were %v", ids, seen)
			}
			seen = append(seen, id)
		}
	}
}

// The size is that of the whole blob, whatever part of it is read.
func TestRange(t *testing.T) {
	b, requests := listening(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0x1"`)
		w.Header().Set("Last-Modified", someTime)
		w.Header().Set("x-ms-creation-time", someTime)
		if r.Method == http.MethodHead || r.Header.Get("x-ms-range") == "" {
			w.Header().Set("Content-Length", "10")
			return
		}
		w.Header().Set("Content-Range", "bytes 2-4/10")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "234")
	})
	for _, tc := range []struct {
		off, length int64
		header      string
	}{{2, 3, "bytes=2-4"}, {2, -1, "bytes=2-"}, {0, -1, ""}} {
		body, err := b.Get(t.Context(), "k", tc.off, tc.length, "0x1")
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		all := requests()
		last := all[len(all)-1]
		if body.Size != 10 || body.Revision != "0x1" || last.Header.Get("x-ms-range") != tc.header || last.Header.Get("If-Match") != `"0x1"` {
			t.Errorf("%+v: %+v, asked for with %v", tc, body.Attributes, last.Header)
		}
	}
}

// gocloud writes some characters of a name otherwise; on the wire they are as the key has
// them, whoever asks. A client that is not ours cannot do that.
func TestNamesOnTheWire(t *testing.T) {
	b, requests := listening(t, stored)
	for _, name := range []string{`q"uote`, "per%20cent", "what?", `back\slash`, "a//b../c", "/first", "ü\x7f", "plain"} {
		for _, does := range []func() error{
			func() error { _, err := b.Head(t.Context(), name); return err },
			func() error { _, err := b.Put(t.Context(), name, nil, cloud.Condition{}); return err },
			func() error { return b.Delete(t.Context(), name, "0x1") },
		} {
			_ = does() // the server knows no answers
			all := requests()
			last := all[len(all)-1]
			if got := strings.TrimPrefix(last.URL.Path, "/acct/box/"); got != name || last.Header.Get("x-ms-version") != version {
				t.Errorf("%s of %q asks for %q by version %s", last.Method, name, got, last.Header.Get("x-ms-version"))
			}
		}
		if err := b.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := newBackend(b.client, false).CheckName(name); (err == nil) != (name == "/first" || name == "plain") {
			t.Errorf("%q by a client of others: %v", name, err)
		}
	}
	if err := b.CheckName("a__0x2f__b"); err == nil {
		t.Error("what looks like an escape is taken")
	}
}

// What answers need not be Azure: an answer without the headers that gocloud relies on is
// an error, and not the end of the process.
func TestNonsense(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "<html>Welcome</html>")
		}
	})
	s := cloud.NewStore(b, "", nil)
	_, statErr := s.Stat(t.Context(), "k")
	_, openErr := s.Open(t.Context(), "k")
	for _, err := range []error{statErr, openErr} {
		if !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), "look at the address") {
			t.Errorf("the error is %v", err)
		}
	}
}
