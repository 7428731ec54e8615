package cloud

import "sync"

// part is a range of an archive that can be read while it is filled.
type part struct {
	off int64
	buf []byte

	mu     sync.Mutex
	came   sync.Cond // something below has changed
	filled int       // bytes of buf; guarded by mu
	err    error     // why there will be no more; guarded by mu
}

func newPart(off int64, buf []byte) *part {
	p := &part{off: off, buf: buf}
	p.came.L = &p.mu
	return p
}

func (p *part) end() int64 { return p.off + int64(len(p.buf)) }

// arrived says that n more bytes are there.
func (p *part) arrived(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filled += n
	p.came.Broadcast()
}

// finish says that no more will come, and why if that is too few.
func (p *part) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.came.Broadcast()
}

// read reads what is there from offset off of the archive, and waits for the first
// byte. Preconditions: off lies in the part.
func (p *part) read(dst []byte, off int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := int(off - p.off)
	for p.filled <= from && p.err == nil {
		p.came.Wait()
	}
	if p.filled <= from {
		return 0, p.err
	}
	return copy(dst, p.buf[from:p.filled]), nil
}

// readFull reads until dst is full. Preconditions: all of it lies in the part.
func (p *part) readFull(dst []byte, off int64) (n int, err error) {
	for n < len(dst) && err == nil {
		var m int
		m, err = p.read(dst[n:], off+int64(n))
		n += m
	}
	return n, err
}
