package ui

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/workdir/workdir/workspace"
)

// How much of a file a page shows.
const (
	textBytes    = 256 << 10
	textLines    = 2000
	tableRows    = 200
	tableColumns = 50
	cellBytes    = 200
	hexBytes     = 512
	pictureBytes = 16 << 20 // of the largest one
)

// content is a part of a file as a page shows it. Exactly one of Lines, Table, Schema, Hex
// and Picture is set; none for an empty file.
type content struct {
	Lines   []line
	Table   *table
	Schema  []schemaObject
	Hex     string
	Picture bool
	Off     int64 // of the first byte shown
	Next    int64 // offset of the next part; 0 if this is the last
	Partial bool  // it does not begin at the file's beginning
}

// line is a line of text. Number counts from 1; it is not known, and 0, after the first part.
type line struct {
	Number int
	Text   string
}

type table struct {
	Head []string
	Rows [][]string
	More bool // there are more rows or columns
}

// pictureTypes are the types shown as pictures. SVG is not one: it can contain scripts, and
// is shown as text.
var pictureTypes = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true, "image/bmp": true}

// pictureType returns the media type of a picture by its first bytes, or "".
func pictureType(head []byte) string {
	if t := http.DetectContentType(head); pictureTypes[t] {
		return t
	}
	return ""
}

// show reads the part of a file that begins at off, and decides how to show it.
func show(f io.ReaderAt, e workspace.Entry, off int64) (*content, error) {
	buf := make([]byte, min(textBytes, max(0, e.Size-off)))
	n, err := f.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	buf = buf[:n]
	c := &content{Off: off}
	switch {
	case n == 0:
	case off == 0 && pictureType(buf) != "" && e.Size <= pictureBytes:
		c.Picture = true
	case off == 0 && bytes.HasPrefix(buf, []byte(sqliteMagic)):
		c.Schema, err = sqliteSchema(f, e.Size)
		if err != nil {
			c.Hex = hex.Dump(buf[:min(n, hexBytes)])
		}
	case !isText(buf):
		c.Hex = hex.Dump(buf[:min(n, hexBytes)])
	default:
		c.text(buf, e)
	}
	return c, nil
}

// text shows text as a table if the file's name says so, else as lines.
func (c *content) text(buf []byte, e workspace.Entry) {
	if c.Off == 0 {
		if c.Table = readTable(buf, e.Path, e.Size > int64(len(buf))); c.Table != nil {
			return
		}
	}
	if short := firstLines(buf, textLines); len(short) < len(buf) {
		buf = short
	} else if c.Off+int64(len(buf)) < e.Size {
		buf = wholeLines(buf)
	}
	if end := c.Off + int64(len(buf)); end < e.Size {
		c.Next = end
	}
	c.Partial = c.Off > 0
	text := strings.TrimSuffix(strings.ToValidUTF8(string(buf), "\ufffd"), "\n")
	for i, s := range strings.Split(text, "\n") {
		number := i + 1
		if c.Off > 0 {
			number = 0
		}
		c.Lines = append(c.Lines, line{number, strings.TrimSuffix(s, "\r")})
	}
}

// firstLines returns the first n lines of a text.
func firstLines(buf []byte, n int) []byte {
	end := 0
	for range n {
		i := bytes.IndexByte(buf[end:], '\n')
		if i < 0 {
			return buf
		}
		end += i + 1
	}
	return buf[:end]
}

// wholeLines cuts a part of a text after its last line break, or, if it has none, after its
// last whole character.
func wholeLines(buf []byte) []byte {
	if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
		return buf[:i+1]
	}
	for i := 1; i < utf8.UTFMax && i < len(buf); i++ {
		if utf8.RuneStart(buf[len(buf)-i]) {
			if !utf8.FullRune(buf[len(buf)-i:]) {
				return buf[:len(buf)-i]
			}
			break
		}
	}
	return buf
}

// isText reports whether a part of a file is text: without NUL, and at least nine tenths
// valid UTF-8.
func isText(buf []byte) bool {
	if bytes.IndexByte(buf, 0) >= 0 {
		return false
	}
	bad := 0
	for rest := buf; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\t' && r != '\r' && r != '\f' && r != 0x1b {
			bad++
		}
		rest = rest[size:]
	}
	return bad*10 <= len(buf)
}

// readTable reads the rows at the beginning of a CSV or TSV file; nil if the name or the
// content is not that of one.
func readTable(buf []byte, name string, more bool) *table {
	r := csv.NewReader(bytes.NewReader(buf))
	switch strings.ToLower(path.Ext(name)) {
	case ".csv":
	case ".tsv":
		r.Comma = '\t'
	default:
		return nil
	}
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	t := &table{More: more}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(t.Rows) == tableRows {
			t.More = true
			break
		}
		t.add(row)
	}
	if t.Head == nil {
		return nil
	}
	return t
}

func (t *table) add(row []string) {
	if len(row) > tableColumns {
		row, t.More = row[:tableColumns], true
	}
	for i, cell := range row {
		if len(cell) > cellBytes {
			row[i] = strings.ToValidUTF8(cell[:cellBytes], "") + "…"
		}
	}
	if t.Head == nil {
		t.Head = row
		return
	}
	t.Rows = append(t.Rows, row)
}
