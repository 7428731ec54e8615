package temporal

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"

	"golang.org/x/sys/unix"
)

// watchRenames calls renamed, from one goroutine, whenever a file of a directory
// has got its name by rename(2), as an archive of a file store does (inotify(7)).
func watchRenames(dir string, renamed func()) (stop func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inotify")
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, err := f.Read(b)
			if err != nil {
				return // closed
			}
			if anyFile(b[:n]) {
				renamed()
			}
		}
	}()
	return func() {
		f.Close()
		<-done
	}, nil
}

// anyFile reports whether one of some events is of a file, and not of a directory.
func anyFile(events []byte) bool {
	for len(events) > 0 {
		if binary.NativeEndian.Uint32(events[4:])&unix.IN_ISDIR == 0 {
			return true
		}
		events = events[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(events[12:]):]
	}
	return false
}

// watchUploads starts a proxy before the S3 server at an address, which holds back
// the answer to each upload until tellStored is done, and returns its address.
func (e *env) watchUploads(address string) string {
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // the signature is about it
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPut && r.StatusCode == http.StatusOK {
				e.tellStored()
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the sender was killed, mostly
	}
	front := httptest.NewServer(p)
	e.t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}
