package serve

import (
	"fmt"
	"io"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// buffer keeps the new bytes of a plan, so that their tree may change before they are sent.
// Its memory is reserved; if the mount has a spill directory, it goes there.
type buffer struct {
	homes []fs.Home // closed in this order
	file  fs.File
	n     int64 // bytes
}

// Sizes of a buffer: bytes for a name in the index, and a minimum.
const (
	bytesAName  = 64
	leastBuffer = 16 << 20
)

// newBuffer makes a buffer for everything that the mount has. ErrLimit.
func (h *hosted) newBuffer() (b *buffer, err error) {
	b = &buffer{}
	size := int64(leastBuffer)
	if h.req.Spill == "" {
		bytes, names := h.view.used()
		size += bytes + bytes/16 + names*bytesAName
	}
	home, err := h.server.budget.ownHome(size)
	if err != nil {
		return nil, fmt.Errorf("room for what was changed: %w", err)
	}
	b.homes = []fs.Home{home}
	if h.req.Spill != "" {
		if home, err = fs.NewSpillHome(home, string(h.req.Spill), h.req.SpillReserve); err != nil {
			b.close()
			return nil, &host.Error{Path: string(h.req.Spill), What: err.Error()}
		}
		b.homes = []fs.Home{home, b.homes[0]}
	}
	if b.file, err = home.NewFile(); err != nil {
		b.close()
		return nil, limitError(err)
	}
	return b, nil
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	n, err := b.file.WriteAt(p, b.n)
	b.n += int64(n)
	return n, limitError(err)
}

// pack carries out the new parts of a plan, and returns the plan with their bytes.
func (b *buffer) pack(plan []store.Piece) ([]store.Piece, error) {
	packed := make([]store.Piece, len(plan))
	for i, p := range plan {
		packed[i] = p
		if p.Write == nil {
			continue
		}
		begin := b.n
		if err := p.Write(b); err != nil {
			return nil, err
		}
		length := b.n - begin
		packed[i].Write = func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(b.file, begin, length))
			return err
		}
	}
	return packed, nil
}

func (b *buffer) close() {
	if b.file != nil {
		_ = b.file.Close() // only memory, as below
	}
	for _, home := range b.homes {
		_ = home.Close()
	}
}
