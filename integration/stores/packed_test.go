package stores

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"syscall"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// packed is an archive of one file with the log of its commits.
type packed struct {
	log   *archive.Log
	bytes []byte
}

// pack packs the archive of a new commit on top of another one, whose log may be
// nil. Its file has random content of size bytes.
func pack(ctx context.Context, parent *archive.Log, size int) (*packed, error) {
	home, err := fs.NewArenaHome(int64(size) + 1<<20)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	tree, err := fs.New(home, nil)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	content := make([]byte, size)
	_, _ = rand.Read(content) // never fails
	file, errno := tree.Mknod(tree.Root(), "file", syscall.S_IFREG|0o644, 0, fs.Owner{})
	if errno == 0 {
		_, errno = tree.WriteAt(file, content, 0, false)
	}
	if errno != 0 {
		return nil, errno
	}
	p := &packed{log: parent.Next(archive.Record{ID: archive.NewCommitID()})}
	var b bytes.Buffer
	_, err = archive.NewWriter(&b, nil).WriteTree(ctx, tree, p.log)
	p.bytes = b.Bytes()
	return p, err
}

func (p *packed) id() archive.CommitID { return p.log.Record.ID }

func (p *packed) write(w io.Writer) error {
	_, err := w.Write(p.bytes)
	return err
}

// request is the commit of p in the place of a revision.
func (p *packed) request(replace store.Revision) *store.CommitRequest {
	return &store.CommitRequest{Replace: replace, ID: p.id(), Parent: p.log.Record.Parent, Plan: store.Written(p.write)}
}

// logOf reads the log of an archive as the server has it, past our drivers; nil
// where there is no archive.
func logOf(t *testing.T, s *Server, bucket, key string) *archive.Log {
	t.Helper()
	b, err := s.client.get(t.Context(), bucket, key+".tar.gz")
	noError(t, err)
	log, err := archive.ReadLog(bytes.NewReader(b), int64(len(b)))
	noError(t, err)
	return log
}
