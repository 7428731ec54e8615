package fs

import (
	"io"
	"sort"
)

// spoolFile is a file without holes in a spool. It is kept small, because there is one for
// every file of an archive.
type spoolFile struct {
	spool *Spool
	start int64 // where in the spool it begins
	size  int64
}

func (f *spoolFile) Size() int64 { return f.size }

// Used counts whole pages, as if the file had pages of its own.
func (f *spoolFile) Used() int64 { return pagesOf(f.size) * pageSize }

func (f *spoolFile) ReadAt(p []byte, off int64) (int, error) {
	p, err := clip(p, off, f.size)
	if len(p) == 0 {
		return 0, err
	}
	if err := f.spool.readAt(p, f.start+off); err != nil {
		return 0, err
	}
	return len(p), err
}

func (f *spoolFile) SeekData(off int64) (int64, error) { return min(off, f.size), nil }
func (f *spoolFile) SeekHole(int64) (int64, error)     { return f.size, nil }

func (f *spoolFile) free(off, end int64) error { return f.spool.free(f.start+off, f.start+end, 0) }

// clip cuts p to what a file of the given size has at off, with io.EOF if that is less than
// asked for.
func clip(p []byte, off, size int64) ([]byte, error) {
	if int64(len(p)) > size-off {
		return p[:max(0, size-off)], io.EOF
	}
	return p, nil
}

// spoolRun is the data at [off, end) of a file.
type spoolRun struct {
	off, end int64
	start    int64 // where in the spool it begins
}

// runCost is how much heap a run takes, in bytes.
const runCost = 24

// sparseFile is a file with holes in a spool.
type sparseFile struct {
	spool *Spool
	size  int64
	runs  []spoolRun // in order, not adjacent, one after another in the spool
	left  int64      // bytes of the runs that are not freed; guarded by the Inode.mu of the file
}

// free frees the heap of the runs with their last byte.
func (f *sparseFile) free(off, end int64) (err error) {
	for _, r := range f.after(off) {
		if r.off >= end {
			break
		}
		from, to, text := max(off, r.off), min(end, r.end), int64(0)
		if f.left -= to - from; f.left == 0 {
			text = f.text()
		}
		err = firstError(err, f.spool.free(r.start+from-r.off, r.start+to-r.off, text))
	}
	return err
}

// text returns how much heap the runs take, in bytes.
func (f *sparseFile) text() int64 { return int64(len(f.runs)) * runCost }

func (f *sparseFile) Size() int64 { return f.size }

// Used counts the pages that the runs touch.
func (f *sparseFile) Used() int64 {
	var pages, counted int64 // counted is the end of the last page that was counted
	for _, r := range f.runs {
		first, last := max(r.off/pageSize, counted), pagesOf(r.end)
		pages += max(0, last-first)
		counted = last
	}
	return pages * pageSize
}

// after returns the runs that end after off.
func (f *sparseFile) after(off int64) []spoolRun {
	return f.runs[sort.Search(len(f.runs), func(i int) bool { return f.runs[i].end > off }):]
}

func (f *sparseFile) ReadAt(p []byte, off int64) (int, error) {
	p, atEnd := clip(p, off, f.size)
	clear(p)
	end := off + int64(len(p))
	for _, r := range f.after(off) {
		if r.off >= end {
			break
		}
		from := max(r.off, off)
		part := p[from-off : min(r.end, end)-off]
		if err := f.spool.readAt(part, r.start+from-r.off); err != nil {
			return 0, err
		}
	}
	return len(p), atEnd
}

func (f *sparseFile) SeekData(off int64) (int64, error) {
	if runs := f.after(off); len(runs) > 0 {
		return max(off, runs[0].off), nil
	}
	return f.size, nil
}

func (f *sparseFile) SeekHole(off int64) (int64, error) {
	if runs := f.after(off); len(runs) > 0 && runs[0].off <= off {
		return runs[0].end, nil
	}
	return min(off, f.size), nil
}
