package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// A mount that was unmounted as soon as it was announced once kept its keeper for ever:
// what the keeper then watched was the file system beneath.
func TestServeEndsWithTheMount(t *testing.T) {
	dir := t.TempDir()
	runDir := filepath.Join(dir, "run")
	for name, flags := range map[string]int{"umount": 0, "umount -l": unix.MNT_DETACH} {
		t.Run(name, func(t *testing.T) {
			m, err := mount.Open(t.Context(), "file://"+dir+"/job", &mount.Options{RunDir: runDir})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				_, _ = m.Close(context.Background()) // closed already
				if err := mount.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			user, err := os.Open(m.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer user.Close()
			if flags == 0 {
				user.Close()
			}
			if err := unix.Unmount(m.Path(), flags); err != nil {
				t.Fatal(err)
			}
			a := &app{stdout: io.Discard, stderr: io.Discard, log: slog.New(slog.DiscardHandler)}
			ended := make(chan error, 1)
			go func() {
				_, err := a.serve(m, nil)
				ended <- err
			}()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it serves still")
			}
		})
	}
}

// A line of the mount table may be long, such as that of an overlay of many layers. What
// stands after it was taken for unmounted.
func TestLongLineInTheMountTable(t *testing.T) {
	long := "21 20 0:20 / /long rw - overlay overlay rw,lowerdir=" + strings.Repeat("/layer:", 1<<14) + "\n"
	table, err := os.Create(filepath.Join(t.TempDir(), "mountinfo"))
	if err == nil {
		_, err = table.WriteString(long + "22 20 0:21 / /mnt rw - fuse.workdir job rw\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if !inTable(table, "0:21") || inTable(table, "0:22") {
		t.Error("0:21 is not found behind a long line, or 0:22 is")
	}
}
