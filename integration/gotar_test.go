package integration

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// goTar packs with Go's archive/tar, as a program would that wants to keep all.
func goTar(e *env, src, out string) {
	e.t.Helper()
	f, err := os.Create(out)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	zw := gzip.NewWriter(f)
	g := &goPacker{tar: tar.NewWriter(zw), src: src, first: map[uint64]string{}}
	err = filepath.WalkDir(src, g.add)
	for _, closer := range []io.Closer{g.tar, zw, f} {
		if cerr := closer.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

type goPacker struct {
	tar   *tar.Writer
	src   string
	first map[uint64]string // the first name of an inode
}

func (g *goPacker) add(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	h, err := g.header(path, d)
	if err != nil {
		return err
	}
	if err := g.tar.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(g.tar, f)
	return err
}

func (g *goPacker) header(path string, d fs.DirEntry) (*tar.Header, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	target := ""
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Format = tar.FormatPAX
	h.Name = "." + strings.TrimPrefix(path, g.src)
	if d.IsDir() {
		h.Name += "/"
	}
	return h, g.details(path, info, h)
}

// details adds hard links and extended attributes.
func (g *goPacker) details(path string, info fs.FileInfo, h *tar.Header) error {
	if st := info.Sys().(*syscall.Stat_t); h.Typeflag == tar.TypeReg && st.Nlink > 1 {
		if first, ok := g.first[st.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return nil
		}
		g.first[st.Ino] = h.Name
	}
	xattrs, err := xattrsOf(path)
	for name, value := range xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	return err
}
