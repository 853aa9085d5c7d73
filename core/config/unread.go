package config

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

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
		case e.Name() == linksPath:
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
	return Errors{{Place: driver.Place{File: path}, Text: "is not read: move it into " + linksPath + "/ beside " + mainFile + ", as *" + extension}}
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
