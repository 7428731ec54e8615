package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// StaticOptions are the options of WriteStatic. Nil stands for the zero value.
type StaticOptions struct {
	Options
	// MaxPages is how many pages are written at most; 0 stands for 10,000. If there are
	// more, it is an error, and dir contains some of them.
	MaxPages int
	// Progress, if set, is called with the number of pages written so far.
	Progress func(pages int)
}

// ErrTooMany means that there are more pages than StaticOptions.MaxPages.
var ErrTooMany = errors.New("there are more pages than the limit")

// WriteStatic writes the pages of the workspaces beneath a prefix into a directory, which it
// creates. index.html leads to all of them. They do not include mounts; of files they show the
// first part, and pictures.
//
// Errors: ErrTooMany; workspace.ErrTarget if the directory is not empty; those of store.List,
// and of the first workspace that cannot be read.
func WriteStatic(ctx context.Context, prefixURL, dir string, opts *StaticOptions) error {
	if opts == nil {
		opts = &StaticOptions{}
	}
	prefix, err := store.ParsePrefix(prefixURL)
	if err != nil {
		return err
	}
	if err := makeEmpty(dir); err != nil {
		return err
	}
	src := &source{ctx: ctx, prefix: prefix, patient: true}
	defer src.close()
	l := &fileLinks{seen: map[target]bool{}, allowed: func(t target) bool {
		return !t.View.isOfHost() && t.View != viewWorkflow && t.Off == 0
	}}
	w := &staticWriter{dir: dir, links: l, pages: &pages{source: src, opts: &opts.Options, links: l}}
	return w.run(ctx, opts)
}

// makeEmpty creates a directory, or accepts an empty one.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("write pages to %s: %w: the directory is not empty; name another", dir, workspace.ErrTarget)
	}
	return err
}

// staticWriter writes pages, and those that they link to.
type staticWriter struct {
	dir   string
	links *fileLinks
	pages *pages
}

func (w *staticWriter) run(ctx context.Context, opts *StaticOptions) error {
	for _, name := range []string{"style.css", "icon.svg"} {
		b, err := assets.ReadFile("assets/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	limit := opts.MaxPages
	if limit == 0 {
		limit = 10_000
	}
	w.links.link(target{View: viewWorkspaces})
	for n := 0; len(w.links.todo) > 0; n++ {
		if n == limit {
			return fmt.Errorf("write pages to %s: %w of %d; name a longer prefix or a higher limit", w.dir, ErrTooMany, limit)
		}
		t := w.links.todo[0]
		w.links.todo = w.links.todo[1:]
		if err := w.write(ctx, t); err != nil {
			return fmt.Errorf("page of %s %s: %w", t.Name, t.Path, err)
		}
		if opts.Progress != nil {
			opts.Progress(n + 1)
		}
	}
	return nil
}

func (w *staticWriter) write(ctx context.Context, t target) error {
	if t.View == viewRaw {
		return w.raw(ctx, t)
	}
	f, err := w.pages.page(ctx, t)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "page", f); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, fileOf(t)), b.Bytes(), 0o644)
}

// raw writes a picture.
func (w *staticWriter) raw(ctx context.Context, t target) error {
	snap, release, err := w.pages.source.snapshot(ctx, t)
	if err != nil {
		return err
	}
	defer release()
	f, err := os.Create(filepath.Join(w.dir, fileOf(t)))
	if err != nil {
		return err
	}
	return errors.Join(snap.WriteFile(ctx, f, t.Path), f.Close())
}
