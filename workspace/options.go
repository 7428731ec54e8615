package workspace

import (
	"context"
	"errors"
	"os"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// Conditions that callers can distinguish.
var (
	// ErrPath: the workspace has nothing at that path, or something of the wrong kind.
	ErrPath = errors.New("no such file in the workspace")
	// ErrTarget: an export would touch existing files.
	ErrTarget = errors.New("already there")
)

// Options are common to the functions of this package. Nil stands for the zero
// value.
type Options struct {
	// TempDir is the directory for content beyond the memory limit; "" is os.TempDir.
	TempDir string
	// Warn is called on the caller's goroutine for things in an archive that the result lacks.
	Warn func(archive.Warning)
	// Progress is called now and then during long work, on the caller's goroutine.
	Progress func(Progress)
}

// Progress of one function.
type Progress struct {
	Phase Phase
	Done  int64 // bytes
	Total int64 // bytes; 0 if unknown
}

// Phase is a stage of a function's work.
type Phase string

// Phases. Bytes are of the archive while reading, of content afterwards.
const (
	Reading   Phase = "reading"
	Writing   Phase = "writing"
	Comparing Phase = "comparing"
)

func (o *Options) orDefault() *Options {
	if o == nil {
		o = &Options{}
	}
	return o
}

func (o *Options) tempDir() string {
	if o.TempDir == "" {
		return os.TempDir()
	}
	return o.TempDir
}

func (o *Options) warn(path, text string) {
	if o.Warn != nil {
		o.Warn(archive.Warning{Path: path, Text: text})
	}
}

func (o *Options) progress(phase Phase, done, total int64) {
	if o.Progress != nil {
		o.Progress(Progress{phase, done, total})
	}
}

// opened is an open archive, with its store.
type opened struct {
	url    store.URL
	store  store.Store
	object store.Object
}

// open opens the archive of a URL, or a version. Only its last tail bytes are read in advance.
func open(ctx context.Context, url string, tail int64) (*opened, error) {
	u, err := store.ParseURL(url)
	if err != nil {
		return nil, err
	}
	s, err := store.OpenBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	o, err := u.OpenArchive(ctx, s, tail)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &opened{u, s, o}, nil
}

// close closes both. It does nothing on nil.
func (o *opened) close() {
	if o != nil {
		o.object.Close()
		o.store.Close()
	}
}
