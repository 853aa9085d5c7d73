package confine_test

import (
	"fmt"
	"os"
)

func acts() map[string]act {
	return map[string]act{
		"nothing": func([]string) error { return nil },
		"show":    show,
	}
}

func show(files []string) error {
	for _, f := range files {
		text, err := os.ReadFile(f)
		fmt.Printf("%s: %v\n%s\n", f, err, text)
	}
	return nil
}
