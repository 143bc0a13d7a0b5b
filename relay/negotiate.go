package relay

import (
	"slices"
	"strconv"
	"strings"
)

// matches reports whether an If-None-Match header matches etag.
func matches(header []string, etag string) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// choose picks the form to send by RFC 9110's Accept-Encoding, preferring the smallest:
// brotli, gzip, plain. ok is false if none is acceptable. A request without the header
// accepts any; if the file is stored only compressed, it gets gzip, which more clients
// support than brotli.
func choose(forms map[string]form, header []string) (coding string, ok bool) {
	accept := parseAccept(header)
	best, bestQ := "", 0.0
	for _, c := range []string{"br", "gzip", ""} {
		if _, there := forms[c]; !there {
			continue
		}
		if q := accept.quality(c); q > bestQ {
			best, bestQ = c, q
		}
	}
	if bestQ > 0 {
		return best, true
	}
	_, zipped := forms["gzip"]
	return "gzip", zipped && len(accept) == 0
}

// codings lists the content codings of the stored forms.
func codings(forms map[string]form) string {
	var names []string
	for c := range forms {
		if c == "" {
			c = "identity"
		}
		names = append(names, c)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// accepted maps a content coding, or *, to its quality.
type accepted map[string]float64

func parseAccept(header []string) accepted {
	a := make(accepted)
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(part, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding == "" {
				continue
			}
			q := 1.0
			if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(v, 64); err != nil || q < 0 || q > 1 {
					q = 0
				}
			}
			a[coding] = q
		}
	}
	return a
}

// quality returns the quality of a coding; "" is the plain form, which is acceptable as
// the last resort unless the client refuses it.
func (a accepted) quality(coding string) float64 {
	if coding == "" {
		if q, ok := a["identity"]; ok {
			return q
		}
		if q, ok := a["*"]; ok && q == 0 {
			return 0
		}
		return 0.0001
	}
	if q, ok := a[coding]; ok {
		return q
	}
	return a["*"]
}
