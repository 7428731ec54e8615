package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestToStdout(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	long := strings.Repeat("content", 1<<16)
	err := a.toStdout(t.Context(), func(w io.Writer) error { _, err := io.WriteString(w, long); return err })
	if err != nil || out.String() != long {
		t.Errorf("%d bytes are written, want %d; %v", out.Len(), len(long), err)
	}
	own := errors.New("own")
	if err := a.toStdout(t.Context(), func(io.Writer) error { return own }); err != own {
		t.Errorf("the error is %v", err)
	}
}

// A reader that neither reads nor closes does not prevent the end by a signal.
func TestToStdoutStalled(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &app{stdout: w}
	block := make([]byte, 1<<20) // more than a pipe holds
	err = a.toStdout(ctx, func(out io.Writer) error {
		go cancel(&interruption{sig: unix.SIGINT})
		for {
			if _, err := out.Write(block); err != nil {
				return err
			}
		}
	})
	if exitCode(err) != 128+int(unix.SIGINT) {
		t.Errorf("the error is %v", err)
	}
}

func TestToStdoutBroken(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	a := &app{stdout: w}
	err = a.toStdout(t.Context(), func(out io.Writer) error { _, err := out.Write(make([]byte, 1<<20)); return err })
	if exitCode(err) != 128+int(unix.SIGPIPE) || errorText(err) != "" {
		t.Errorf("the error is %v", err)
	}
}
