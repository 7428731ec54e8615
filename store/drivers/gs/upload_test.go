package gs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// session is a server that takes one resumable upload.
type session struct {
	t        *testing.T
	begun    string // the condition with which the upload began
	content  []byte
	requests []string // what each brought: its Content-Range
	object   bool     // it is made
	checksum string   // that the last request brought
	// trip, where not nil, may answer in the server's place. It is called after the
	// server has done what it was asked.
	trip func(n int, w http.ResponseWriter) bool
}

func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	bytesOf := r.Header.Get("Content-Range")
	s.requests = append(s.requests, bytesOf)
	if bytesOf == "" {
		s.begun = r.URL.Query().Get("ifGenerationMatch")
	} else {
		s.take(r, bytesOf, body)
	}
	if s.trip != nil && s.trip(len(s.requests), w) {
		return
	}
	switch {
	case s.object:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"key.tar.gz","generation":"8","size":"%d"}`, len(s.content))
	case bytesOf == "":
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id=secret")
	default:
		w.Header().Set("X-Http-Status-Code-Override", "308")
	}
}

// take keeps the bytes of one request, once.
func (s *session) take(r *http.Request, bytesOf string, body []byte) {
	first, total := 0, ""
	if last := 0; strings.HasPrefix(bytesOf, "bytes */") {
		first, total = len(s.content), strings.TrimPrefix(bytesOf, "bytes */")
	} else if _, err := fmt.Sscanf(bytesOf, "bytes %d-%d/%s", &first, &last, &total); err != nil {
		s.t.Errorf("the range %q: %v", bytesOf, err)
	}
	s.content = append(s.content[:first], body...)
	if total != "*" {
		s.object, s.checksum = true, r.Header.Get("X-Goog-Hash")
	}
}

// send sends parts and completes.
func send(ctx context.Context, b *backend, cond cloud.Condition, parts ...[]byte) (cloud.Attributes, error) {
	u, err := b.Upload(cloud.Operation(ctx, "upload"), "key.tar.gz", cond, nil)
	if err != nil {
		return cloud.Attributes{}, err
	}
	for i, p := range parts {
		if err := u.Part(cloud.Operation(ctx, "part"), i+1, p); err != nil {
			return cloud.Attributes{}, errors.Join(err, u.Abort(ctx))
		}
	}
	a, err := u.Complete(cloud.Operation(ctx, "complete"), cond)
	if err != nil {
		return a, errors.Join(err, u.Abort(ctx))
	}
	return a, nil
}

func checksumOf(content []byte) string {
	return "crc32c=" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(content, castagnoli)))
}

func TestUpload(t *testing.T) {
	full := bytes.Repeat([]byte("0123456789abcdef"), chunkSize/16)
	tests := []struct {
		name  string
		cond  cloud.Condition
		begun string
		parts [][]byte
		last  string // Content-Range of the request that makes the object
	}{
		{"a chunk and a bit", cloud.Condition{}, "0", [][]byte{full, []byte("end")}, "bytes 16777216-16777218/16777219"},
		{"two whole chunks", cloud.Condition{Replace: "7"}, "7", [][]byte{full, full}, "bytes */33554432"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &session{t: t}
			b, transport := backendAt(t, s.ServeHTTP)
			content := bytes.Join(test.parts, nil)
			a, err := send(t.Context(), b, test.cond, test.parts...)
			noError(t, err)
			if a.Revision != "8" || a.Size != int64(len(content)) || !bytes.Equal(s.content, content) {
				t.Fatalf("%d bytes became %+v with %d bytes", len(content), a, len(s.content))
			}
			if last := s.requests[len(s.requests)-1]; last != test.last || s.begun != test.begun || s.checksum != checksumOf(content) {
				t.Fatalf("the upload began with the condition %q, and its last request was %q with the checksum %q", s.begun, last, s.checksum)
			}
			traffic := transport.Traffic()
			if traffic["upload"].Count != 1 || traffic["part"].Count != int64(len(s.requests)-2) || traffic["complete"].Count != 1 {
				t.Fatalf("the traffic was %+v", traffic)
			}
		})
	}
}

// The answer to any request of an upload can be lost, that to the last one too: the
// library asks again, and hears what was done.
func TestUploadAnswerLost(t *testing.T) {
	full := make([]byte, chunkSize)
	for n, kind := range []string{"upload", "part", "part", "complete"} {
		t.Run(fmt.Sprintf("%d %s", n+1, kind), func(t *testing.T) {
			s := &session{t: t}
			lost := false
			s.trip = func(i int, w http.ResponseWriter) bool {
				if i != n+1 || lost {
					return false
				}
				lost = true
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			b, transport := backendAt(t, s.ServeHTTP)
			a, err := send(t.Context(), b, cloud.Condition{Replace: "7"}, full, full, []byte("end"))
			noError(t, err)
			if want := 2*len(full) + 3; a.Revision != "8" || len(s.content) != want {
				t.Fatalf("%d bytes were stored as %+v, want %d", len(s.content), a, want)
			}
			for k, r := range transport.Traffic() {
				if want := map[bool]int64{true: 1}[k == kind]; r.Retries != want {
					t.Errorf("%d retries of %q, want %d", r.Retries, k, want)
				}
			}
		})
	}
}

// What is smaller than a chunk is sent by one request. If that has no answer, and is
// refused when it is sent again, it may have been stored by the first.
func TestShortUploadAnswerLost(t *testing.T) {
	for lost, want := range map[bool]cloud.Meaning{false: cloud.Changed, true: cloud.Broken} {
		requests := 0
		b, transport := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			noError(t, err)
			if requests++; lost && requests == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			refuse(w, http.StatusPreconditionFailed, "conditionNotMet", "the condition does not hold")
		})
		_, err := send(t.Context(), b, cloud.Condition{}, make([]byte, cloud.PartSize(1)), []byte("end"))
		wantRefusal(t, b, err, want, "")
		if got := transport.Traffic()["complete"].Count; got != int64(requests) {
			t.Errorf("%d of %d requests counted", got, requests)
		}
	}
}

// A server that stays out of order is given up, whatever the upload was at.
func TestUploadGivenUp(t *testing.T) {
	for _, good := range []int{0, 2, 3} {
		s := &session{t: t}
		s.trip = func(i int, w http.ResponseWriter) bool {
			if i > good {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return i > good
		}
		b, _ := backendAt(t, s.ServeHTTP)
		full := make([]byte, chunkSize)
		_, err := send(t.Context(), b, cloud.Condition{}, full, full)
		wantRefusal(t, b, err, cloud.Broken, "")
		if got := len(s.requests) - good; got != uploadTries {
			t.Errorf("after %d good requests %d were made, want %d", good, got, uploadTries)
		}
	}
}

// A 404 is about the bucket only before Google has taken anything.
func TestUploadForgotten(t *testing.T) {
	for good, want := range map[int]cloud.Meaning{0: cloud.NoBucket, 2: cloud.Broken} {
		s := &session{t: t}
		s.trip = func(i int, w http.ResponseWriter) bool {
			if i > good {
				refuse(w, http.StatusNotFound, "notFound", "Not Found")
			}
			return i > good
		}
		b, _ := backendAt(t, s.ServeHTTP)
		full := make([]byte, chunkSize)
		_, err := send(t.Context(), b, cloud.Condition{}, full, full)
		wantRefusal(t, b, err, want, "")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error %q has the address of the upload", err)
		}
	}
}

// The end of the context of one part ends the upload; nothing more is sent.
func TestUploadCancelled(t *testing.T) {
	s := &session{t: t}
	reached, release := make(chan struct{}), make(chan struct{})
	s.trip = func(i int, _ http.ResponseWriter) bool {
		if i == 2 {
			close(reached)
			<-release
		}
		return false
	}
	b, _ := backendAt(t, s.ServeHTTP)
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	full := make([]byte, chunkSize)
	go func() {
		<-reached
		cancel()
	}()
	_, err := send(ctx, b, cloud.Condition{}, full, full, full)
	if !errors.Is(err, context.Canceled) || s.object {
		t.Fatalf("the error is %v; the object is made: %v", err, s.object)
	}
}

// The library would ask for the rest of a body by itself, for ever.
func TestBrokenReadIsNotResumed(t *testing.T) {
	requests := 0
	b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("X-Goog-Generation", "7")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "beginning")
		noError(t, http.NewResponseController(w).Flush())
		panic(http.ErrAbortHandler)
	})
	body, err := b.Get(t.Context(), "key.tar.gz", 0, -1, "")
	noError(t, err)
	defer body.Close()
	got, err := io.ReadAll(body)
	if string(got) != "beginning" || !errors.Is(err, io.ErrUnexpectedEOF) || requests != 1 {
		t.Fatalf("read %q and %v by %d requests", got, err, requests)
	}
	wantRefusal(t, b, err, cloud.Broken, "")
}

func TestListGoesThroughPages(t *testing.T) {
	tries := 0
	b, transport := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 2 {
			refuse(w, http.StatusServiceUnavailable, "backendError", "Backend Error")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("pageToken") == "" {
			_, _ = io.WriteString(w, `{"items":[{"name":"p/a","generation":"1","size":"3"}],"prefixes":["p/dir/"],"nextPageToken":"more"}`)
			return
		}
		_, _ = io.WriteString(w, `{"items":[{"name":"p/b","generation":"2","size":"4"}]}`)
	})
	var found []string
	for r := (cloud.PageRequest{Prefix: "p/"}); ; {
		page, err := b.Page(cloud.Operation(t.Context(), "list"), r)
		if wantAgain := tries == 2; err != nil && wantAgain {
			continue
		}
		noError(t, err)
		for _, o := range page.Objects {
			if !strings.HasSuffix(o.Name, "/") {
				found = append(found, fmt.Sprint(o.Name, " ", o.Revision, " ", o.Size))
			}
		}
		if r.Token = page.Next; r.Token == nil {
			break
		}
	}
	if got := strings.Join(found, ", "); got != "p/a 1 3, p/b 2 4" {
		t.Fatalf("found %s", got)
	}
	if got := transport.Traffic()["list"]; got.Count != 4 {
		t.Fatalf("the traffic was %+v", got)
	}
}

// Google is told the checksum of what it is sent, and the condition.
func TestPut(t *testing.T) {
	var asked string
	b, transport := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		noError(t, err)
		asked = r.URL.RawQuery + string(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"name":"key.tar.gz","generation":"8","size":"7"}`)
	})
	a, err := b.Put(cloud.Operation(t.Context(), "put"), "key.tar.gz", []byte("archive"), cloud.Condition{Replace: "7"})
	noError(t, err)
	if a.Revision != store.Revision("8") {
		t.Fatalf("the revision is %q", a.Revision)
	}
	for _, want := range []string{"ifGenerationMatch=7", strings.TrimPrefix(checksumOf([]byte("archive")), "crc32c="), "no-store", "\r\n\r\narchive\r\n"} {
		if !strings.Contains(asked, want) {
			t.Errorf("the request %q has no %q", asked, want)
		}
	}
	if got := transport.Traffic()["put"]; got.Count != 1 {
		t.Fatalf("the traffic was %+v", got)
	}
}
