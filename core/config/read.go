package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/fieldloom/fieldloom/core/driver"
)

// The names of what Load reads in the directory.
const (
	MainFile  = "fieldloom.yaml"
	LinksDir  = "links" // of files with links and templates
	extension = ".yaml"
)

// An input is one file as it was read.
type input struct {
	name string // relative to the directory, with slashes
	data []byte
	err  error // why it could not be read
}

// readDir reads every file of the configuration in dir.
func readDir(dir string, lim limits) []input {
	sources := []input{readFile(dir, MainFile, lim)}
	entries, err := os.ReadDir(filepath.Join(dir, LinksDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return append(sources, input{name: LinksDir, err: explain(err)})
	}
	for _, e := range entries {
		name := LinksDir + "/" + e.Name()
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case strings.HasSuffix(e.Name(), extension):
			sources = append(sources, readFile(dir, name, lim))
		case strings.EqualFold(filepath.Ext(name), ".yml"), strings.EqualFold(filepath.Ext(name), extension):
			sources = append(sources, input{name: name, err: errors.New("is not read: rename it to end in .yaml")})
		}
	}
	return sources
}

func readFile(dir, name string, lim limits) input {
	s := input{name: name}
	full := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(full)
	switch {
	case err != nil:
		s.err = explain(err)
		if name == MainFile && errors.Is(err, fs.ErrNotExist) {
			s.err = missingMain(dir)
		}
		return s
	case !info.Mode().IsRegular():
		s.err = fmt.Errorf("is a %s: put a file in its place", modeWord(info.Mode()))
		return s
	}
	f, err := os.Open(full)
	if err != nil {
		s.err = explain(err)
		return s
	}
	defer f.Close() // nothing was written
	// One byte more than the limit, so that parsing sees that the file is too long.
	s.data, err = io.ReadAll(io.LimitReader(f, lim.file+1))
	if err != nil {
		s.err = explain(err)
	}
	return s
}

func missingMain(dir string) error {
	for _, other := range []string{"fieldloom.yml", "fieldloom.YAML", "fieldloom.json"} {
		if _, err := os.Stat(filepath.Join(dir, other)); err == nil {
			return fmt.Errorf("is missing, but there is %s: rename it", other)
		}
	}
	return errors.New("is missing: create it, or name the directory that has it with --config")
}

func modeWord(m fs.FileMode) string {
	if m.IsDir() {
		return "directory"
	}
	return "special file"
}

// explain says what an operating system's error means for the operator.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist, though its name does: mend or remove the symbolic link")
	case errors.Is(err, syscall.ELOOP):
		return errors.New("is a symbolic link that leads back to itself: mend or remove it")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("cannot be read: give the gateway's user the right to read it")
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// fromMap makes sources of files in memory.
func fromMap(files map[string][]byte) []input {
	sources := make([]input, 0, len(files)+1)
	for name, data := range files {
		sources = append(sources, input{name: name, data: data})
	}
	if _, ok := files[MainFile]; !ok {
		sources = append(sources, input{name: MainFile, err: errors.New("is missing: create it")})
	}
	slices.SortFunc(sources, func(a, b input) int { return strings.Compare(a.name, b.name) })
	return sources
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// clean checks that data is text that YAML can be read from. line and column
// say where it is not.
func clean(data []byte, lim limits) (text string, line, column uint32, err error) {
	if int64(len(data)) > lim.file {
		return "", 0, 0, fmt.Errorf("is longer than %d bytes: use templates and ranges, or split it", lim.file)
	}
	data = bytes.TrimPrefix(data, byteOrderMark)
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	text = string(data)
	line, column = 1, 1
	indent := true
	for i, r := range text {
		if wrong := wrongRune(text, i, r, indent); wrong != "" {
			return "", line, column, errors.New(wrong)
		}
		indent = r == '\n' || indent && r == ' '
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return text, 0, 0, nil
}

func wrongRune(text string, i int, r rune, indent bool) string {
	switch {
	case r == '\t' && indent:
		return "a tab stands in the indentation: use spaces"
	case r == '\uFFFD' && !strings.HasPrefix(text[i:], "\uFFFD"):
		return fmt.Sprintf("byte 0x%02x is not UTF-8: save the file as UTF-8", text[i])
	case r < ' ' && r != '\n' && r != '\t', r == 0x7f, r == '\u2028', r == '\u2029', r == '\u0085', r == '\uFEFF':
		return fmt.Sprintf("the control character U+%04X is not allowed here: remove it, or write it as an escape in double quotes", r)
	}
	return ""
}

const (
	// What is looked through for files that were meant to be read.
	maxLooked     = 1000 // entries of a directory
	maxLookedInto = 64 << 10
)

// meant matches a file that was written to be read.
var meant = regexp.MustCompile(`(?m)^(links|templates) *:`)

// unread returns warnings of files that look like part of the configuration and are not
// read: beside links/, in a directory whose name is nearly links, or below links/.
func unread(c *Config) (list Errors) {
	known := map[string]bool{c.DataDir: true, c.SecretsDir: true, c.DriversDir: true}
	for _, name := range c.Files {
		known[name] = true
	}
	for _, e := range someEntries(c.Dir) {
		path := filepath.Join(c.Dir, e.Name())
		switch {
		case known[path] || strings.HasPrefix(e.Name(), "."):
		case !e.IsDir():
			list = append(list, unreadFile(path)...)
		case e.Name() == LinksDir:
			for _, below := range someEntries(path) {
				if sub := filepath.Join(path, below.Name()); below.IsDir() && !strings.HasPrefix(below.Name(), ".") {
					list = append(list, unreadIn(sub)...)
				}
			}
		default:
			list = append(list, unreadIn(path)...)
		}
	}
	return list
}

// unreadIn looks into one directory.
func unreadIn(dir string) (list Errors) {
	for _, e := range someEntries(dir) {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			list = append(list, unreadFile(filepath.Join(dir, e.Name()))...)
		}
	}
	return list
}

func unreadFile(path string) Errors {
	switch strings.ToLower(filepath.Ext(path)) {
	case extension, ".yml":
	default:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, maxLookedInto))
	if err != nil || !meant.Match(text) {
		return nil
	}
	return Errors{{Place: driver.Place{File: path}, Text: "is not read: move it into " + LinksDir + "/ beside " + MainFile + ", as *" + extension}}
}

// someEntries returns the entries of a directory, as far as they are not too many.
func someEntries(dir string) []os.DirEntry {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()                    // nothing was written
	entries, _ := f.ReadDir(maxLooked) // what cannot be listed is not looked through
	return entries
}
