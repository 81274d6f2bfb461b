package format

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of the tags of a snapshot or of a rule of a policy.
const (
	MaxTags    = 64
	MaxTagSize = 128 // bytes
)

// CheckTag says what is wrong with a tag. It is 1 to 128 bytes of UTF-8 without
// control characters that neither begin nor end with a space.
func CheckTag(tag string) error {
	switch {
	case tag == "":
		return fmt.Errorf("a tag is empty")
	case len(tag) > MaxTagSize:
		return fmt.Errorf("tag %.40q…: it has %d bytes, at most %d are allowed", tag, len(tag), MaxTagSize)
	case !utf8.ValidString(tag), strings.ContainsFunc(tag, unicode.IsControl):
		return fmt.Errorf("tag %q: it holds what is no text", tag)
	case strings.Trim(tag, " ") != tag:
		return fmt.Errorf("tag %q: it begins or ends with a space", tag)
	}
	return nil
}

// CheckTags says what is wrong with the tags of one snapshot or rule: at most
// 64, sorted, each once.
func CheckTags(tags []string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("there are %d tags, at most %d are allowed", len(tags), MaxTags)
	}
	for _, tag := range tags {
		if err := CheckTag(tag); err != nil {
			return err
		}
	}
	if !ascending(tags, strings.Compare) {
		return fmt.Errorf("the tags %q are not sorted, each once", tags)
	}
	return nil
}
