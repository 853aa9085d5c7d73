package confine

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxLine bounds the first line of a script, as the kernel does.
	maxLine = 256
	// maxScripts is how many interpreters may be scripts themselves, as the kernel has it.
	maxScripts = 4
)

// loaders are the programs that the kernel itself executes so that the image runs: the
// interpreter of a script, and the dynamic loader of a program. They must be executable
// to Landlock, which does not mean that the process may execute them later. A static
// program has none.
func loaders(image io.ReaderAt) ([]string, error) { return loadersOf(image, maxScripts) }

func loadersOf(image io.ReaderAt, depth int) ([]string, error) {
	if line := interpreter(image); line != "" {
		if depth == 0 {
			return nil, fmt.Errorf("confine: the image is a script of a script of a script: %s", line)
		}
		// Not waiting for the other end of what is no file.
		file, err := os.OpenFile(line, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("confine: the script's interpreter: %w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("confine: the script's interpreter %s is not a file", line)
		}
		more, err := loadersOf(file, depth-1)
		return append([]string{line}, more...), err
	}
	program, err := elf.NewFile(image)
	if err != nil {
		return nil, fmt.Errorf("confine: the image is neither a program nor a script: %w", err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < maxLine {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, fmt.Errorf("confine: the image's dynamic loader: %w", err)
			}
			return []string{string(bytes.TrimRight(name, "\x00"))}, nil
		}
	}
	return nil, nil
}

// interpreter is the one that a script's first line names, or nothing.
func interpreter(image io.ReaderAt) string {
	start := make([]byte, maxLine)
	n, _ := image.ReadAt(start, 0)
	line, ok := bytes.CutPrefix(start[:n], []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	if words := strings.Fields(string(line)); len(words) > 0 {
		return words[0]
	}
	return ""
}
