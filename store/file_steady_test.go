package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// An archive that the ancestor was writing in place was refused, as an empty file or a
// part of one.
func TestFileWrittenInPlace(t *testing.T) {
	for name, steps := range map[string][]string{
		"whole at once":  {"content of the archive"},
		"empty at first": {"", "", "content of the archive"},
		"in parts":       {"con", "tent", " of the", " archive"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := root + "/key.tar.gz"
			noError(t, os.WriteFile(path, nil, 0o666))
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			noError(t, err)
			defer f.Close()
			var written strings.Builder
			write := func() {
				if len(steps) == 0 {
					return
				}
				_, err := f.WriteString(steps[0])
				noError(t, err)
				written.WriteString(steps[0])
				steps = steps[1:]
			}
			// A look at the store is a step of the tool's.
			o, err := store.NewFileStore(root).Open(looked{t.Context(), write}, "key")
			noError(t, err)
			defer o.Close()
			got, err := io.ReadAll(o)
			noError(t, err)
			if string(got) != "content of the archive" || len(steps) > 0 {
				t.Errorf("Open shows %q, and the tool had written %q", got, written.String())
			}
		})
	}
}

// A tool that wrote all the time, faster than a look at the file takes, was not waited for.
func TestFileWrittenAtEveryLook(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(root + "/key.tar.gz")
	noError(t, err)
	defer f.Close()
	begun, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.WriteString("x"); err != nil {
				return
			}
			if n == 100 {
				close(begun)
			}
		}
	}()
	<-begun
	looks := 0
	o, err := store.NewFileStore(root).Open(looked{t.Context(), func() {
		if looks++; looks == 2 {
			close(stop)
			<-ended
		}
	}}, "key")
	if looks < 2 {
		close(stop)
		<-ended
	}
	noError(t, err)
	defer o.Close()
	wrote, err := f.Seek(0, io.SeekCurrent)
	noError(t, err)
	if o.Info().Size != wrote {
		t.Errorf("Open shows %d bytes of the %d that were written", o.Info().Size, wrote)
	}
}

// A file that is written for long is an error that another try can cure, and a context
// ends the wait.
func TestFileWrittenForLong(t *testing.T) {
	root := t.TempDir()
	path := root + "/key.tar.gz"
	s, n := store.NewFileStore(root), 0
	write := func() {
		n++
		noError(t, os.WriteFile(path, make([]byte, n), 0o666))
	}
	_, err := s.Open(looked{t.Context(), write}, "key")
	wantError(t, err, store.ErrUnreachable)
	if !strings.Contains(err.Error(), "is writing the file in place") {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Open(looked{ctx, func() { write(); time.AfterFunc(0, cancel) }}, "key")
	wantError(t, err, context.Canceled)
}

// Complete files are opened without waiting: an old file, empty or not, and a commit of ours.
func TestFileNotWaitedFor(t *testing.T) {
	root := t.TempDir()
	for key, make := range map[string]func(path string) error{
		"empty":   func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o666), age(path)) },
		"old":     func(path string) error { return errors.Join(os.WriteFile(path, []byte("old"), 0o666), age(path)) },
		"renamed": func(path string) error { return put(t, root, "renamed", "content") },
		"ours":    func(path string) error { return os.WriteFile(path, pack(t, nil).bytes, 0o666) },
	} {
		noError(t, make(root+"/"+key+".tar.gz"))
		looks := 0
		o, err := store.NewFileStore(root).Open(looked{t.Context(), func() { looks++ }}, key)
		noError(t, err)
		noError(t, o.Close())
		if looks != 1 {
			t.Errorf("%s: %d looks, want 1", key, looks)
		}
	}
}

func age(path string) error {
	old := time.Now().Add(-time.Hour)
	return os.Chtimes(path, old, old)
}

func put(t *testing.T, root, key, content string) error {
	_, err := store.NewFileStore(root).Put(t.Context(), key, writes(content), nil)
	return err
}

// looked is a context that calls look for each look at the store.
type looked struct {
	context.Context
	look func()
}

func (l looked) Err() error {
	l.look()
	return l.Context.Err()
}
