package archive

import "github.com/workdir/workdir/fs"

// Limits bound what an archive may demand. The Reader and the Writer enforce the same ones. A
// zero field has its default.
type Limits struct {
	Entries       int64 // entries, including implied directories; 10,000,000
	PathLen       int64 // bytes of one path; 4,095, as PATH_MAX
	NameLen       int64 // bytes of one name; 255, as NAME_MAX
	Depth         int64 // names in one path; 2,048
	SymlinkLen    int64 // bytes of a link's target; 4,095
	FileBytes     int64 // size of one file, including holes, which unpacking has to write; 1 TiB
	TotalBytes    int64 // size of all files, holes included; 2 TiB
	HeaderBytes   int64 // extended headers of one entry, in whole blocks; 1 MiB
	XattrBytes    int64 // value of one extended attribute; 64 KiB, as XATTR_SIZE_MAX
	MetaBytes     int64 // names, link targets, extended attributes and extents (16 each) of all entries; 1 GiB
	SparseExtents int64 // extents of one sparse file; 1,000,000
	LogBytes      int64 // the commit log, packed and unpacked, and its results; 16,000,000, the most that a Writer writes
	IndexBytes    int64 // the index, unpacked; 1 GiB
}

// DefaultLimits returns the limits that apply by default.
func DefaultLimits() Limits {
	return Limits{
		Entries:       10_000_000,
		PathLen:       4095,
		NameLen:       255,
		Depth:         2048,
		SymlinkLen:    4095,
		FileBytes:     1 << 40,
		TotalBytes:    2 << 40,
		HeaderBytes:   1 << 20,
		XattrBytes:    64 << 10,
		MetaBytes:     1 << 30,
		SparseExtents: 1_000_000,
		LogBytes:      maxLogBytes,
		IndexBytes:    1 << 30,
	}
}

// withDefaults returns l with its zero fields filled in; l may be nil.
func (l *Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l == nil {
		return d
	}
	set := func(dst *int64, v int64) {
		if v != 0 {
			*dst = v
		}
	}
	set(&d.Entries, l.Entries)
	set(&d.PathLen, l.PathLen)
	set(&d.NameLen, l.NameLen)
	set(&d.Depth, l.Depth)
	set(&d.SymlinkLen, l.SymlinkLen)
	set(&d.FileBytes, l.FileBytes)
	set(&d.TotalBytes, l.TotalBytes)
	set(&d.HeaderBytes, l.HeaderBytes)
	set(&d.XattrBytes, l.XattrBytes)
	set(&d.MetaBytes, l.MetaBytes)
	set(&d.SparseExtents, l.SparseExtents)
	set(&d.LogBytes, l.LogBytes)
	set(&d.IndexBytes, l.IndexBytes)
	return d
}

// meter counts what an archive has demanded so far and stops at the limits. One meter serves
// one pass over one archive or tree.
type meter struct {
	lim     Limits
	entries int64
	total   int64
	meta    int64
}

func over(limit string, value, maximum int64, entry string) error {
	if value <= maximum {
		return nil
	}
	return &LimitError{Limit: limit, Value: value, Max: maximum, Entry: entry}
}

// path checks the lengths of a clean path.
func (m *meter) path(path string) error {
	if err := over("PathLen", int64(len(path)), m.lim.PathLen, path); err != nil {
		return err
	}
	depth := int64(0)
	for name := range fs.Names(path) {
		depth++
		if err := over("NameLen", int64(len(name)), m.lim.NameLen, path); err != nil {
			return err
		}
	}
	return over("Depth", depth, m.lim.Depth, path)
}

// name counts one more entry, whose path adds only its last name.
func (m *meter) name(path string) error {
	m.entries++
	if err := over("Entries", m.entries, m.lim.Entries, path); err != nil {
		return err
	}
	_, name := fs.Split(path)
	return m.metadata(len(name), path)
}

// attributes counts the contents of h except its name.
func (m *meter) attributes(h *header) error {
	if h.kind == kindSymlink {
		if err := over("SymlinkLen", int64(len(h.link)), m.lim.SymlinkLen, h.name); err != nil {
			return err
		}
		if err := m.metadata(len(h.link), h.name); err != nil {
			return err
		}
	}
	if err := m.metadata(extentBytes*len(h.sparse), h.name); err != nil {
		return err
	}
	for _, x := range h.xattrs {
		if err := over("XattrBytes", int64(len(x.value)), m.lim.XattrBytes, h.name); err != nil {
			return err
		}
		if err := m.metadata(len(x.name)+len(x.value), h.name); err != nil {
			return err
		}
	}
	return m.content(h)
}

// extentBytes is what an extent takes in memory.
const extentBytes = 16

func (m *meter) content(h *header) error {
	if err := over("FileBytes", h.size, m.lim.FileBytes, h.name); err != nil {
		return err
	}
	if h.size > m.lim.TotalBytes-m.total {
		return &LimitError{Limit: "TotalBytes", Value: m.total + h.size, Max: m.lim.TotalBytes, Entry: h.name}
	}
	m.total += h.size
	return nil
}

func (m *meter) metadata(n int, path string) error {
	m.meta += int64(n)
	return over("MetaBytes", m.meta, m.lim.MetaBytes, path)
}
