package ui

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// Options are the options of the pages. Nil stands for the zero value.
type Options struct {
	// TemporalUI is the address of Temporal's UI, such as "http://localhost:8233", to which
	// the commits of workflows link. "" makes no such links.
	TemporalUI string
	// RunDir is the run directory whose mounts are shown; "" stands for package mount's
	// defaults.
	RunDir string
}

func (o *Options) orDefault() *Options {
	if o == nil {
		return &Options{}
	}
	return o
}

// cookieName is the prefix of the name of the cookie that holds the token. Cookies are not
// separated by port, so the port follows in the name.
const cookieName = "workdir-ui-"

//go:embed assets
var assets embed.FS

// Handler serves the pages to those who have its token. It is safe for concurrent use.
type Handler struct {
	pages *pages
	token string
	host  string // the Host of requests; immutable
	end   context.CancelFunc
}

// NewHandler returns a handler for the workspaces beneath a prefix (see store.List), or, if
// the prefix is "", only for the mounts of this host. address is the host and port at which
// it is reached, such as 127.0.0.1:8080. A request with another Host is refused, which stops
// pages of other sites from using a DNS name that resolves to this host. The caller closes
// the handler. Error: store.ErrURL.
func NewHandler(prefixURL, address string, opts *Options) (*Handler, error) {
	ctx, end := context.WithCancel(context.Background())
	p := &pages{opts: opts.orDefault(), links: liveLinks{}, live: true}
	if prefixURL != "" {
		prefix, err := store.ParsePrefix(prefixURL)
		if err != nil {
			end()
			return nil, err
		}
		p.source = &source{ctx: ctx, prefix: prefix}
	}
	return &Handler{pages: p, token: rand.Text(), host: address, end: end}, nil
}

// URL returns the address for a browser, with the token. It is a secret: it gives access to
// everything that the program can read.
func (h *Handler) URL() string { return "http://" + h.host + "/?token=" + h.token }

// Close frees the handler's resources. Requests in progress fail.
func (h *Handler) Close() {
	h.end()
	if h.pages.source != nil {
		h.pages.source.close()
	}
}

// policy is the content security policy of all pages. It allows style sheets, scripts and
// pictures of this server, nothing inline and nothing from elsewhere.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	set := w.Header().Set
	set("Content-Security-Policy", policy)
	set("X-Content-Type-Options", "nosniff")
	set("Referrer-Policy", "no-referrer")
	set("Cross-Origin-Resource-Policy", "same-origin")
	set("Cross-Origin-Opener-Policy", "same-origin")
	set("Cache-Control", "no-store")
	switch {
	case r.Host != h.host:
		h.fail(w, http.StatusMisdirectedRequest, "This server is reached as "+h.host+" alone.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		set("Allow", "GET, HEAD")
		h.fail(w, http.StatusMethodNotAllowed, "Pages can be read, and nothing else.")
	case r.URL.Path == "/" && r.URL.Query().Has("token"):
		h.enter(w, r)
	case !h.knows(r):
		h.fail(w, http.StatusForbidden, "Open the address that workdir-mount ui has printed: the token in it is what lets you in.")
	default:
		h.serve(w, r)
	}
}

// enter moves the token from the address, where histories and screens would show it, into
// a cookie.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request) {
	if !h.isToken(r.URL.Query().Get("token")) {
		h.fail(w, http.StatusForbidden, "That token is of another server. Open the address that workdir-mount ui has printed.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: h.cookie(), Value: h.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (h *Handler) cookie() string {
	_, port, err := net.SplitHostPort(h.host)
	if err != nil {
		port = "80"
	}
	return cookieName + port
}

func (h *Handler) isToken(s string) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(h.token)) == 1
}

func (h *Handler) knows(r *http.Request) bool {
	c, err := r.Cookie(h.cookie())
	return err == nil && h.isToken(c.Value)
}

// serve answers a request that carries the token.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
		serveAsset(w, r, name)
		return
	}
	t := parseTarget(r.URL)
	switch {
	case h.pages.source != nil:
	case t.View == viewWorkspaces:
		t = target{View: viewMounts}
	case t.View == viewRaw:
		h.failed(w, errTarget)
		return
	}
	if t.View == viewRaw {
		h.raw(w, r, t)
		return
	}
	f, err := h.pages.page(r.Context(), t)
	if err != nil {
		h.failed(w, err)
		return
	}
	h.write(w, http.StatusOK, "page", f)
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
}

// raw serves the bytes of a file: a picture inline, anything else as an attachment.
func (h *Handler) raw(w http.ResponseWriter, r *http.Request, t target) {
	snap, release, err := h.pages.source.snapshot(r.Context(), t)
	if err != nil {
		h.failed(w, err)
		return
	}
	defer release()
	e, err := snap.Stat(t.Path)
	if err == nil && e.Kind != workspace.File {
		err = fmt.Errorf("%w: %q is a %s", workspace.ErrPath, t.Path, e.Kind)
	}
	head := make([]byte, 512)
	n := 0
	if err == nil {
		n, err = fileAt{snap, t.Path}.ReadAt(head, 0)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.failed(w, err)
		return
	}
	kind, disposition := pictureType(head[:n]), "inline"
	if kind == "" {
		kind, disposition = "application/octet-stream", "attachment"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": path.Base(t.Path)}))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	http.ServeContent(w, r, "", e.ModTime, io.NewSectionReader(fileAt{snap, t.Path}, 0, e.Size))
}

// failed answers with an error page.
func (h *Handler) failed(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for _, is := range []struct {
		err    error
		status int
	}{
		{errTarget, http.StatusNotFound},
		{store.ErrNotExist, http.StatusNotFound},
		{store.ErrNoVersion, http.StatusNotFound},
		{workspace.ErrPath, http.StatusNotFound},
		{store.ErrURL, http.StatusBadRequest},
		{store.ErrNotAllowed, http.StatusForbidden},
		{store.ErrUnreachable, http.StatusBadGateway},
		{store.ErrConflict, http.StatusConflict},
		{archive.ErrFormat, http.StatusUnprocessableEntity},
		{archive.ErrLimit, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, is.err) {
			status = is.status
			break
		}
	}
	h.fail(w, status, err.Error())
}

func (h *Handler) fail(w http.ResponseWriter, status int, text string) {
	h.write(w, status, "error", &frame{Title: http.StatusText(status), Links: h.pages.frameLinks(), Body: text})
}

func (h *Handler) write(w http.ResponseWriter, status int, name string, f *frame) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, f); err != nil {
		http.Error(w, "a page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser is gone
}
