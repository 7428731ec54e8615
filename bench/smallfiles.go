package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// smallFiles is the number of files in the tasks on small files.
const smallFiles = 5000

// page is the content of a small file.
var page = make([]byte, 1024)

// smallDir is the directory of the small files of a run.
func smallDir(s *site) string { return filepath.Join(s.dir, "full"+s.run) }

func makeSmallDir(s *site) error { return unix.Mkdir(smallDir(s), 0o755) }

// each calls fn for the path of each small file.
func each(fn func(path string) error) func(*site) (float64, error) {
	return func(s *site) (float64, error) {
		return seconds(func() error {
			for i := range smallFiles {
				if err := fn(filepath.Join(smallDir(s), fmt.Sprint(i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func writeFile(path string, content []byte) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	if len(content) > 0 {
		if _, err := unix.Write(fd, content); err != nil {
			unix.Close(fd)
			return err
		}
	}
	return unix.Close(fd)
}

func readFile(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Read(fd, make([]byte, len(page)))
	return err
}

func statFile(path string) error {
	var st unix.Stat_t
	return unix.Lstat(path, &st)
}
