package ui

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

const hostOfTest = "127.0.0.1:9999"

// store is a directory of workspaces.
type storeDir struct {
	t    *testing.T
	dir  string
	keep store.Keep
}

func newStore(t *testing.T) *storeDir { return &storeDir{t: t, dir: t.TempDir()} }

func (s *storeDir) url(name string) string { return "file://" + filepath.Join(s.dir, name) }

// put stores files as a workspace, as a commit on top of what is there.
func (s *storeDir) put(name string, files map[string]string) {
	s.t.Helper()
	dir := s.t.TempDir()
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := workspace.Import(s.t.Context(), dir, s.url(name), &workspace.ImportOptions{ReplaceAny: true, Keep: s.keep}); err != nil {
		s.t.Fatal(err)
	}
}

// handler serves the store's pages.
func (s *storeDir) handler(opts *Options) *Handler {
	s.t.Helper()
	h, err := NewHandler("file://"+s.dir, hostOfTest, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(h.Close)
	return h
}

// get asks for a page as a browser does that has the token.
func get(t *testing.T, h *Handler, path string) (status int, body string, header http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+hostOfTest+path, nil)
	r.AddCookie(&http.Cookie{Name: h.cookie(), Value: h.token})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// mustGet is get of a page that is there.
func mustGet(t *testing.T, h *Handler, path string) string {
	t.Helper()
	status, body, header := get(t, h, path)
	if status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", path, status, body)
	}
	if header.Get("Content-Security-Policy") == "" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: headers %v", path, header)
	}
	return body
}

func wants(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("the page has no %q:\n%s", part, body)
		}
	}
}

func TestWhoMayEnter(t *testing.T) {
	s := newStore(t)
	s.put("secret", map[string]string{"f": "x"})
	h := s.handler(nil)
	cookie := func(value string) *http.Cookie { return &http.Cookie{Name: h.cookie(), Value: value} }
	tests := []struct {
		name, method, host, path string
		cookie                   *http.Cookie
		want                     int
	}{
		{"with the cookie", "GET", hostOfTest, "/", cookie(h.token), http.StatusOK},
		{"without", "GET", hostOfTest, "/", nil, http.StatusForbidden},
		{"another cookie", "GET", hostOfTest, "/", cookie("x" + h.token[1:]), http.StatusForbidden},
		{"an empty cookie", "GET", hostOfTest, "/", cookie(""), http.StatusForbidden},
		{"the token", "GET", hostOfTest, "/?token=" + h.token, nil, http.StatusSeeOther},
		{"another token", "GET", hostOfTest, "/?token=no", nil, http.StatusForbidden},
		{"the token elsewhere", "GET", hostOfTest, "/workspace?name=secret&token=" + h.token, nil, http.StatusForbidden},
		{"assets without", "GET", hostOfTest, "/assets/style.css", nil, http.StatusForbidden},
		{"by another name", "GET", "example.com:9999", "/", cookie(h.token), http.StatusMisdirectedRequest},
		{"a change", "POST", hostOfTest, "/", cookie(h.token), http.StatusMethodNotAllowed},
		{"the head", "HEAD", hostOfTest, "/", cookie(h.token), http.StatusOK},
	}
	for _, test := range tests {
		r := httptest.NewRequest(test.method, "http://"+test.host+test.path, nil)
		if test.cookie != nil {
			r.AddCookie(test.cookie)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.name, w.Code, test.want)
		}
		if test.want != http.StatusOK && strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the page names the workspace", test.name)
		}
	}
}

func TestPages(t *testing.T) {
	s := newStore(t)
	s.put("job", map[string]string{"a.txt": "one\ntwo\n", "d/e": "deep", "t.csv": "n,v\nx,1\n"})
	s.put("job", map[string]string{"a.txt": "one\nthree\n", "d/e": "deep", "t.csv": "n,v\nx,1\n"})
	s.put("group/inner", map[string]string{"f": ""})
	h := s.handler(&Options{RunDir: t.TempDir()})
	wants(t, mustGet(t, h, "/"), ">job</a>", "group/</a>")
	wants(t, mustGet(t, h, "/?name=group"), ">inner</a>", "group%2Finner")
	wants(t, mustGet(t, h, "/workspace?name=job"), "2 commits", "/tree?name=job")
	wants(t, mustGet(t, h, "/tree?name=job"), ">a.txt</a>", ">d/</a>")
	wants(t, mustGet(t, h, "/tree?name=job&path=d"), "d%2Fe")
	wants(t, mustGet(t, h, "/file?name=job&path=a.txt"), "three", `id="L2"`)
	wants(t, mustGet(t, h, "/file?name=job&path=t.csv"), "<th scope=\"col\">n</th>", "<td>x</td>")
	wants(t, mustGet(t, h, "/file?name=group%2Finner&path=f"), "Nothing is in it")
	if body := mustGet(t, h, "/raw?name=job&path=d%2Fe"); body != "deep" {
		t.Errorf("raw gives %q", body)
	}
	wants(t, mustGet(t, h, "/mounts"), "As of")
}

// TestVersions: the files of earlier commits, and what each has changed, as far as they are kept.
func TestVersions(t *testing.T) {
	s := newStore(t)
	s.keep = store.Keep{Last: 5}
	s.put("job", map[string]string{"a": "one\n", "gone": "x"})
	s.put("job", map[string]string{"a": "two<script>\n", "n": ""})
	h := s.handler(nil)
	page := mustGet(t, h, "/workspace?name=job")
	tree := regexp.MustCompile(`href="(/tree\?at=[^"]+)"`).FindStringSubmatch(page)
	diff := regexp.MustCompile(`href="(/diff\?[^"]+)"`).FindStringSubmatch(page)
	if tree == nil || diff == nil {
		t.Fatalf("no links to what is kept:\n%s", page)
	}
	unescape := func(s string) string { return strings.ReplaceAll(s, "&amp;", "&") }
	wants(t, mustGet(t, h, unescape(tree[1])), ">gone</a>")
	list := mustGet(t, h, unescape(diff[1]))
	wants(t, list, "- gone", "&#43; n", "M a")
	lines := regexp.MustCompile(`href="(/diff\?[^"]*path=a)"`).FindStringSubmatch(list)
	if lines == nil {
		t.Fatalf("no link to lines:\n%s", list)
	}
	wants(t, mustGet(t, h, unescape(lines[1])), `class="minus"><pre><del>one</del>`, `class="plus"><pre><ins>two&lt;script&gt;</ins>`)
	for _, path := range []string{"/tree?name=job&at=0123456789abcdef0123456789abcdef", "/tree?name=job&at=..", "/diff?name=job&from=zz"} {
		if status, _, _ := get(t, h, path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
	dir := filepath.Join(t.TempDir(), "pages")
	if err := WriteStatic(t.Context(), "file://"+s.dir, dir, nil); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := newStore(t)
	s.put("job", map[string]string{"f": "x", "d/e": "y"})
	if err := os.WriteFile(filepath.Join(s.dir, "other.tar.gz"), []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.dir), "outside.tar.gz"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := s.handler(nil)
	tests := []struct {
		path string
		want int
	}{
		{"/workspace?name=none", 404}, {"/workspace", 404}, {"/workspace?name=..%2Foutside", 404}, {"/workspace?name=job%2F..%2Fjob", 404},
		{"/?name=..", 404}, {"/?name=%2Fetc", 404}, {"/tree?name=job&path=none", 404}, {"/tree?name=job&path=f", 404}, {"/file?name=job&path=d", 404},
		{"/file?name=job&path=..%2F..%2Fetc%2Fpasswd", 404}, {"/raw?name=job&path=d", 404}, {"/none", 404}, {"/assets/none", 404},
		{"/assets/..%2Fserver.go", 404}, {"/workspace?name=other", 422}, {"/tree?name=other", 422}, {"/workspace?name=a%00b", 404},
	}
	for _, test := range tests {
		status, body, _ := get(t, h, test.path)
		if status != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.path, status, test.want, body)
		}
	}
}

// hostile is what a name or a content must not do to a page.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`

func TestHostileNames(t *testing.T) {
	s := newStore(t)
	name := strings.ReplaceAll(hostile, "/", "∕")
	s.put("job", map[string]string{name: hostile, "x.csv": hostile + "," + hostile + "\n1,2\n", "turned-\u202egpj.exe": "\u202eabc", "page.html": "<html><script>alert(1)</script>", "p.svg": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"})
	h := s.handler(&Options{TemporalUI: "http://127.0.0.1:8233"})
	paths := []string{"/workspace?name=job", "/tree?name=job"}
	for _, f := range []string{name, "x.csv", "turned-\u202egpj.exe", "page.html", "p.svg"} {
		paths = append(paths, liveLinks{}.link(target{View: viewFile, Name: "job", Path: f}))
	}
	paths = append(paths, liveLinks{}.link(target{View: viewTree, Name: "job", Path: hostile}), liveLinks{}.link(target{View: viewWorkspace, Name: hostile}))
	for _, path := range paths {
		_, body, _ := get(t, h, path)
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img src=x") || strings.Contains(body, "\u202e") || strings.Contains(body, "<svg") {
			t.Errorf("%s lets something through:\n%s", path, body)
		}
	}
	for _, f := range []string{"page.html", "p.svg"} {
		_, _, header := get(t, h, liveLinks{}.link(target{View: viewRaw, Name: "job", Path: f}))
		if header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") || !strings.Contains(header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s is served with %v", f, header)
		}
	}
}

func pictureOf(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPictureAndRange(t *testing.T) {
	s := newStore(t)
	picture := pictureOf(t)
	s.put("job", map[string]string{"p.png": picture, "binary": "a\x00b"})
	h := s.handler(nil)
	wants(t, mustGet(t, h, "/file?name=job&path=p.png"), `<img src="/raw?name=job&amp;path=p.png"`)
	_, body, header := get(t, h, "/raw?name=job&path=p.png")
	if header.Get("Content-Type") != "image/png" || body != picture {
		t.Errorf("the picture is served with %v", header)
	}
	wants(t, mustGet(t, h, "/file?name=job&path=binary"), "Not text", "61 00 62")
	r := httptest.NewRequest(http.MethodGet, "http://"+hostOfTest+"/raw?name=job&path=binary", nil)
	r.AddCookie(&http.Cookie{Name: h.cookie(), Value: h.token})
	r.Header.Set("Range", "bytes=2-")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusPartialContent || w.Body.String() != "b" {
		t.Errorf("a range gives %d, %q", w.Code, w.Body.String())
	}
}

func TestLongLists(t *testing.T) {
	s := newStore(t)
	files := map[string]string{}
	for i := range namesOnPage + 5 {
		files[fmt.Sprintf("f%04d", i)] = "x"
	}
	s.put("w", files)
	one, err := os.ReadFile(filepath.Join(s.dir, "w.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range workspacesOnPage + 5 {
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("w%04d.tar.gz", i)), one, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := s.handler(nil)
	if n := len(follow(t, h, "/", regexp.MustCompile(`href="/workspace\?name=(w\d*)"`))); n != workspacesOnPage+6 {
		t.Errorf("%d workspaces are listed", n)
	}
	if n := len(follow(t, h, "/tree?name=w", regexp.MustCompile(`path=(f\d+)"`))); n != namesOnPage+5 {
		t.Errorf("%d names are listed", n)
	}
}

// TestLongFile: each line of a text is shown once, in parts.
func TestLongFile(t *testing.T) {
	s := newStore(t)
	var text strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&text, "line-%d\n", i)
	}
	s.put("job", map[string]string{"log": text.String(), "one-line": strings.Repeat("é", 200_000)})
	h := s.handler(nil)
	lines := follow(t, h, "/file?name=job&path=log", regexp.MustCompile(`line-(\d+)<`))
	if len(lines) != 60_000 {
		t.Errorf("%d lines are shown", len(lines))
	}
	parts := follow(t, h, "/file?name=job&path=one-line", regexp.MustCompile(`<pre>(é+)</pre>`))
	if n := len(strings.Join(parts, "")); n != 400_000 {
		t.Errorf("%d bytes of a long line are shown", n)
	}
}

// follow returns what matches on a page and on those that "next" leads to.
func follow(t *testing.T, h *Handler, path string, re *regexp.Regexp) (found []string) {
	t.Helper()
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	for {
		body := mustGet(t, h, path)
		for _, m := range re.FindAllStringSubmatch(body, -1) {
			found = append(found, m[1])
		}
		m := next.FindStringSubmatch(body)
		if m == nil {
			return found
		}
		path = strings.ReplaceAll(m[1], "&amp;", "&")
	}
}

// TestSnapshotsAreClosed: only some stay open, and one that is in use is not closed.
func TestSnapshotsAreClosed(t *testing.T) {
	s := newStore(t)
	for i := range maxOpen + 3 {
		s.put(fmt.Sprintf("w%d", i), map[string]string{"f": fmt.Sprint(i)})
	}
	h := s.handler(nil)
	src := h.pages.source
	first, release, err := src.snapshot(t.Context(), target{Name: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxOpen + 3 {
		mustGet(t, h, fmt.Sprintf("/tree?name=w%d", i))
	}
	if len(src.open) != maxOpen {
		t.Errorf("%d snapshots are open", len(src.open))
	}
	buf := make([]byte, 1)
	if _, err := (fileAt{first, "f"}).ReadAt(buf, 0); err != nil && err != io.EOF || buf[0] != '0' {
		t.Errorf("the snapshot in use: %q, %v", buf, err)
	}
	release()
	s.put("w5", map[string]string{"f": "new"})
	if body := mustGet(t, h, "/raw?name=w5&path=f"); body != "new" {
		t.Errorf("after a commit the page shows %q", body)
	}
}

func TestStatic(t *testing.T) {
	s := newStore(t)
	s.put("job", map[string]string{"a.txt": "hello", "d/e": "deep", "p.png": pictureOf(t), "long": strings.Repeat("x\n", textBytes)})
	s.put("group/inner", map[string]string{"f": "y"})
	dir := filepath.Join(t.TempDir(), "pages")
	if err := WriteStatic(t.Context(), "file://"+s.dir, dir, nil); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`(?:href|src)="([^"#]+)"`)
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name.Name(), ".html") {
			continue
		}
		all.Write(b)
		for _, m := range link.FindAllSubmatch(b, -1) {
			if _, err := os.Stat(filepath.Join(dir, string(m[1]))); err != nil {
				t.Errorf("%s leads to %s, which is not there", name.Name(), m[1])
			}
		}
	}
	wants(t, all.String(), "hello", "deep", ">inner</a>", "<img src=")
	if err := WriteStatic(t.Context(), "file://"+s.dir, dir, nil); !errors.Is(err, workspace.ErrTarget) {
		t.Errorf("into a directory that is not empty: %v", err)
	}
	err = WriteStatic(t.Context(), "file://"+s.dir, filepath.Join(t.TempDir(), "few"), &StaticOptions{MaxPages: 2})
	if err == nil || !strings.Contains(err.Error(), "limit of 2") {
		t.Errorf("with two pages at most: %v", err)
	}
}
