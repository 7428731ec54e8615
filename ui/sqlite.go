package ui

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The schema of a SQLite database, read as its file format has it
// (https://www.sqlite.org/fileformat2.html). What a file says is believed in nothing: each
// number is checked, and no more than maxSchema pages and maxSchemaText bytes are read.
const (
	sqliteMagic   = "SQLite format 3\x00"
	maxSchema     = 1000     // pages and objects
	maxSchemaText = 16 << 10 // bytes of one object's record
)

var errSQLite = errors.New("not a SQLite database that can be read")

// schemaObject is a row of the table sqlite_schema.
type schemaObject struct{ Type, Name, SQL string }

// sqliteReader reads the pages of a database.
type sqliteReader struct {
	f       io.ReaderAt
	page    int64 // bytes
	usable  int   // bytes of a page without what is reserved at its end
	pages   int64
	visited int
	found   []schemaObject
}

// sqliteSchema returns the tables, indexes, views and triggers of the database of size
// bytes behind f.
func sqliteSchema(f io.ReaderAt, size int64) ([]schemaObject, error) {
	var head [100]byte
	if n, err := f.ReadAt(head[:], 0); n < len(head) {
		return nil, errors.Join(errSQLite, err)
	}
	page := int64(binary.BigEndian.Uint16(head[16:]))
	if page == 1 {
		page = 65536
	}
	if page < 512 || page&(page-1) != 0 || string(head[:16]) != sqliteMagic {
		return nil, errSQLite
	}
	r := &sqliteReader{f: f, page: page, usable: int(page) - int(head[20]), pages: size / page}
	if r.usable < 480 {
		return nil, errSQLite
	}
	err := r.walk(1)
	return r.found, err
}

// walk reads the b-tree whose root is a page.
func (r *sqliteReader) walk(number int64) error {
	if r.visited++; number < 1 || number > r.pages || r.visited > maxSchema {
		return errSQLite
	}
	p := make([]byte, r.page)
	if n, err := r.f.ReadAt(p, (number-1)*r.page); int64(n) < r.page {
		return errors.Join(errSQLite, err)
	}
	h := p // the b-tree's header, behind that of the file on the first page
	if number == 1 {
		h = p[100:]
	}
	const leaf, interior = 13, 5
	size := map[byte]int{leaf: 8, interior: 12}[h[0]]
	cells := int(binary.BigEndian.Uint16(h[3:]))
	if size == 0 || size+2*cells > len(h) {
		return errSQLite
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(h[size+2*i:]))
		if at+4 > r.usable {
			return errSQLite
		}
		err := error(nil)
		if h[0] == leaf {
			err = r.leaf(p[at:r.usable])
		} else {
			err = r.walk(int64(binary.BigEndian.Uint32(p[at:])))
		}
		if err != nil {
			return err
		}
	}
	if h[0] == interior {
		return r.walk(int64(binary.BigEndian.Uint32(h[8:])))
	}
	return nil
}

// leaf reads one row.
func (r *sqliteReader) leaf(cell []byte) error {
	length, n := varint(cell)
	_, m := varint(cell[n:])
	if n == 0 || m == 0 || length > maxSchemaText || len(r.found) == maxSchema {
		return errSQLite
	}
	payload, err := r.payload(cell[n+m:], int(length))
	if err != nil {
		return err
	}
	o, err := readObject(payload)
	if err == nil {
		r.found = append(r.found, o)
	}
	return err
}

// payload returns a record. A page has its beginning, and overflow pages have the rest.
func (r *sqliteReader) payload(local []byte, length int) ([]byte, error) {
	keep := length
	if most := r.usable - 35; length > most {
		least := (r.usable-12)*32/255 - 23
		if keep = least + (length-least)%(r.usable-4); keep > most {
			keep = least
		}
	}
	if keep > len(local) || keep < length && keep+4 > len(local) {
		return nil, errSQLite
	}
	out := append([]byte(nil), local[:keep]...)
	if keep == length {
		return out, nil
	}
	next := int64(binary.BigEndian.Uint32(local[keep:]))
	for len(out) < length {
		if r.visited++; next < 1 || next > r.pages || r.visited > maxSchema {
			return nil, errSQLite
		}
		p := make([]byte, r.usable)
		if n, err := r.f.ReadAt(p, (next-1)*r.page); n < len(p) {
			return nil, errors.Join(errSQLite, err)
		}
		out = append(out, p[4:min(len(p), 4+length-len(out))]...)
		next = int64(binary.BigEndian.Uint32(p))
	}
	return out, nil
}

// readObject reads a record of sqlite_schema: type, name, tbl_name, rootpage, sql.
func readObject(p []byte) (o schemaObject, err error) {
	header, n := varint(p)
	if n == 0 || header > uint64(len(p)) || header < uint64(n) {
		return o, errSQLite
	}
	types, body := p[n:header], p[header:]
	var texts [5]string
	for i := range texts {
		kind, m := varint(types)
		if m == 0 {
			return o, fmt.Errorf("%w: a row has %d columns", errSQLite, i)
		}
		types = types[m:]
		size := columnSize(kind)
		if size > uint64(len(body)) {
			return o, errSQLite
		}
		if kind >= 13 && kind%2 == 1 {
			texts[i] = string(body[:size])
		}
		body = body[size:]
	}
	return schemaObject{texts[0], texts[1], texts[4]}, nil
}

// columnSize is how many bytes a column of a serial type takes.
func columnSize(kind uint64) uint64 {
	if kind >= 12 {
		return (kind - 12) / 2
	}
	return [...]uint64{0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0}[kind]
}

// varint reads a number of at most 9 bytes, the highest bits first; n is 0 where there is
// none.
func varint(p []byte) (v uint64, n int) {
	for n < len(p) && n < 9 {
		b := p[n]
		n++
		if n == 9 {
			return v<<8 | uint64(b), n
		}
		v = v<<7 | uint64(b&0x7f)
		if b < 0x80 {
			return v, n
		}
	}
	return 0, 0
}
