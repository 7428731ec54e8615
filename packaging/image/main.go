// Command image writes a container image of workdir-mount as an OCI image layout, a tar file
// that skopeo, podman, crane and containerd read. The image has the program, certificates of
// authorities, and nothing else; it needs no daemon, and equal inputs make equal bytes.
//
//	image -version v1.2.3 -certificates ca.crt -out image.tar amd64=PROGRAM arm64=PROGRAM
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Media types of the OCI image specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// descriptor points to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

func main() {
	version := flag.String("version", "", "of the program")
	certificates := flag.String("certificates", "/etc/ssl/certs/ca-certificates.crt", "`file` of certificates")
	out := flag.String("out", "", "`file` to write")
	flag.Parse()
	if err := write(*out, *version, *certificates, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(out, version, certificates string, programs []string) (err error) {
	authorities, err := os.ReadFile(certificates)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	l := &layout{out: tar.NewWriter(f)}
	var manifests []descriptor
	for _, program := range programs {
		arch, path, _ := strings.Cut(program, "=")
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		manifests = append(manifests, l.image(arch, version, content, authorities))
	}
	index := l.json(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": manifests})
	index.Annotations = map[string]string{"org.opencontainers.image.ref.name": version}
	l.file("index.json", marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{index}}), 0o644)
	l.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	if l.err == nil {
		l.err = l.out.Close()
	}
	if closeErr := f.Close(); l.err == nil {
		l.err = closeErr
	}
	return l.err
}

// layout is an image layout that is being written. Its first error stays.
type layout struct {
	out *tar.Writer
	err error
}

// image writes the image of one architecture.
func (l *layout) image(arch, version string, program, authorities []byte) descriptor {
	layer, diffID := layerOf(program, authorities)
	layerBlob := l.blob(typeLayer, layer)
	config := l.json(typeConfig, map[string]any{
		"architecture": arch, "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diffID}},
		"config": map[string]any{
			"Entrypoint": []string{"/usr/bin/workdir-mount"},
			"Env":        []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
			"Labels":     map[string]string{"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0"},
		},
	})
	manifest := l.json(typeManifest, map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": []descriptor{layerBlob}})
	manifest.Platform = &platform{arch, "linux"}
	return manifest
}

// layerOf returns a compressed layer, and the digest of what it is uncompressed.
func layerOf(program, authorities []byte) (layer []byte, diffID string) {
	var plain, compressed bytes.Buffer
	files := &layout{out: tar.NewWriter(&plain)}
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/", "run/", "usr/", "usr/bin/", "usr/sbin/"} {
		files.header(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755})
	}
	files.header(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	files.file("usr/bin/workdir-mount", program, 0o755)
	files.file("etc/ssl/certs/ca-certificates.crt", authorities, 0o644)
	files.file("etc/passwd", []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"), 0o644)
	files.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/sbin/mount.workdir", Linkname: "../bin/workdir-mount", Mode: 0o777})
	must(files.err)
	must(files.out.Close())
	zip, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	must(err)
	_, err = io.Copy(zip, bytes.NewReader(plain.Bytes()))
	must(err)
	must(zip.Close())
	return compressed.Bytes(), digest(plain.Bytes())
}

// must is for writes to memory, which do not fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	must(err)
	return b
}

func (l *layout) json(mediaType string, v any) descriptor { return l.blob(mediaType, marshal(v)) }

func (l *layout) blob(mediaType string, b []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(b), Size: len(b)}
	l.file("blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:"), b, 0o644)
	return d
}

func (l *layout) file(name string, content []byte, mode int64) {
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: mode})
	if l.err == nil {
		_, l.err = l.out.Write(content)
	}
}

func (l *layout) header(h *tar.Header) {
	if l.err == nil {
		l.err = l.out.WriteHeader(h)
	}
}
