package workspace

import (
	"bytes"
	"context"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Patch says how the content of a file becomes another, line by line.
type Patch struct {
	// Text is in the form of diff -u, with a/PATH and b/PATH, or /dev/null for a missing file;
	// patch(1) and git apply accept it. "" if Binary.
	Text     string `json:"text,omitempty"`
	Inserted int    `json:"inserted"` // lines
	Deleted  int    `json:"deleted"`
	Binary   bool   `json:"binary,omitempty"` // either has a NUL near its beginning, or more than MaxPatched bytes
}

// MaxPatched is the maximum size of a file that is compared line by line.
const MaxPatched = 4 << 20

// sniffed is how many bytes of a file are searched for a NUL, as in git.
const sniffed = 8000

// noFile stands for a missing file.
const noFile = "/dev/null"

// patch compares two files, either of which may be missing; nil if there is no content to
// compare.
func (d *differ) patch(a, b *listed) (*Patch, error) {
	if !isFile(a) && !isFile(b) {
		return nil, nil
	}
	nameA, nameB, whole := noFile, noFile, true
	var textA, textB []byte
	for _, side := range []struct {
		of     *loaded
		entry  *listed
		prefix string
		name   *string
		text   *[]byte
	}{{d.a, a, "a/", &nameA, &textA}, {d.b, b, "b/", &nameB, &textB}} {
		if !isFile(side.entry) {
			continue
		}
		*side.name = side.prefix + Printable(side.entry.Path)
		whole = whole && side.entry.Size <= MaxPatched
		if !whole {
			continue
		}
		text, err := side.of.readAll(d.ctx, side.entry)
		if err != nil {
			return nil, err
		}
		*side.text = text
	}
	if !whole || isBinary(textA) || isBinary(textB) {
		return &Patch{Binary: true}, nil
	}
	if bytes.Equal(textA, textB) {
		return nil, nil
	}
	return newPatch(nameA, textA, nameB, textB), nil
}

func isFile(e *listed) bool { return e != nil && e.Kind == File }

func isBinary(text []byte) bool { return bytes.IndexByte(text[:min(len(text), sniffed)], 0) >= 0 }

// readAll reads a whole file.
func (l *loaded) readAll(ctx context.Context, e *listed) ([]byte, error) {
	var text bytes.Buffer
	err := l.writeContent(ctx, &text, e)
	return text.Bytes(), err
}

func newPatch(nameA string, a []byte, nameB string, b []byte) *Patch {
	text := string(diff.Diff(nameA, a, nameB, b))
	_, text, _ = strings.Cut(text, "\n") // "diff a b"
	p := &Patch{Text: text}
	n := 0
	for line := range strings.Lines(text) {
		switch n++; {
		case n <= 2: // the names
		case line[0] == '+':
			p.Inserted++
		case line[0] == '-':
			p.Deleted++
		}
	}
	return p
}
