package store

import "strings"

// azureScheme is the canonical scheme of Azure Blob Storage.
const azureScheme = "azblob"

// azureDomains are the domains of Azure's clouds, after "blob." or "dfs.".
// Source: learn.microsoft.com, "Storage account overview" and "Compare Azure
// Government and global Azure".
var azureDomains = map[string]bool{
	"core.windows.net":       true,
	"core.chinacloudapi.cn":  true,
	"core.usgovcloudapi.net": true,
	"core.cloudapi.de":       true,
	"storage.azure.net":      true, // accounts with a DNS zone: account.z01.blob.storage.azure.net
}

// defaultAzureDomain is the domain of an account named without one.
const defaultAzureDomain = "blob.core.windows.net"

// azureHost splits the host name of an Azure account.
func azureHost(host string) (account, domain string, ok bool) {
	account, rest, found := strings.Cut(strings.ToLower(host), ".")
	zone := ""
	if z, after, cut := strings.Cut(rest, "."); cut && len(z) == len("z01") && z[0] == 'z' {
		zone, rest = z+".", after
	}
	service, base, _ := strings.Cut(rest, ".")
	if !found || service != "blob" && service != "dfs" || !azureDomains[base] || !isAzureAccount(account) {
		return "", "", false
	}
	return account, zone + "blob." + base, true
}

// isAzureAccount: 3 to 24 lower-case letters and digits.
func isAzureAccount(name string) bool {
	return len(name) >= 3 && len(name) <= 24 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// azureAccount turns the account in container@account.dfs.core.windows.net/key, the form of
// Hadoop, Spark and adlfs, into options, and returns the container and the key as newRest. It
// also refuses names that Azure would read differently.
func (p parser) azureAccount(rest, query string) (newRest, newQuery string, err error) {
	if strings.Contains(rest, `\`) {
		return "", "", p.bad(`a "\", which Azure takes for a "/"; write "/", or choose a name without it`)
	}
	place, key, hasKey := strings.Cut(rest, "/")
	container, host, found := strings.Cut(place, "@")
	if _, _, isHost := azureHost(place); isHost {
		return "", "", p.bad("the account's host %q in the place of the container; write abfs://CONTAINER@%s/key", place, place)
	}
	if !found {
		return rest, query, nil
	}
	account, domain, ok := azureHost(host)
	switch {
	case container == "":
		return "", "", p.bad("no container before the \"@\"; write abfs://CONTAINER@%s/key", host)
	case strings.Contains(container, ":"), strings.Contains(host, "@"):
		return "", "", p.bad("credentials before the \"@\", where the container belongs; keep them in the environment and write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/key")
	case !ok:
		return "", "", p.bad("the host %q, which is not ACCOUNT.dfs.core.windows.net, ACCOUNT.blob.core.windows.net or one of another cloud of Azure's; write azblob://CONTAINER/key?storage_account=ACCOUNT&domain=DOMAIN for any other", host)
	case hasOption(query, "storage_account") || hasOption(query, "domain"):
		return "", "", p.bad("the account both before the key and in the options; leave one of them out")
	}
	options := "storage_account=" + account
	if domain != defaultAzureDomain {
		options += "&domain=" + domain
	}
	if query != "" {
		options += "&" + query
	}
	if hasKey {
		container += "/" + key
	}
	return container, options, nil
}

// hasOption reports whether a query, as written, has an option.
func hasOption(query, name string) bool {
	for part := range strings.SplitSeq(query, "&") {
		if n, _, _ := strings.Cut(part, "="); n == name {
			return true
		}
	}
	return false
}

// webAddress refuses a web address; the error shows the URL of its object. rest follows
// "https://".
func (p parser) webAddress(rest string) error {
	host, path, _ := strings.Cut(rest, "/")
	if strings.Contains(host, "@") {
		return p.bad("a web address with credentials; write scheme://bucket/key, with one of the schemes %s", knownSchemes())
	}
	if form := webObject(host, strings.TrimSuffix(path, suffix)); form != "" {
		return p.bad("a web address; write %s", form)
	}
	return p.bad("a web address; write s3://bucket/key?endpoint=https://%s for a server that speaks S3", host)
}

// webObject returns the URL of the object that a cloud has at an address; "" if the host
// belongs to no cloud.
func webObject(host, path string) string {
	host = strings.ToLower(host)
	if account, _, ok := azureHost(host); ok {
		container, key, _ := strings.Cut(path, "/")
		_, domain, _ := strings.Cut(host, ".")
		return "abfs://" + or(container, "CONTAINER") + "@" + account + "." + domain + "/" + or(key, "KEY")
	}
	if host == "storage.googleapis.com" || host == "storage.cloud.google.com" {
		return "gs://" + or(path, "BUCKET/KEY")
	}
	if bucket, ok := strings.CutSuffix(host, ".storage.googleapis.com"); ok {
		return "gs://" + bucket + "/" + or(path, "KEY")
	}
	if amazon, ok := strings.CutSuffix(host, ".amazonaws.com"); ok {
		return amazonObject(amazon, path)
	}
	return ""
}

// amazonObject is webObject for hosts of S3, without ".amazonaws.com":
// bucket.s3.region, s3.region, and the older ones with "s3-region" or no region.
func amazonObject(host, path string) string {
	dotted := strings.Replace("."+host+".", ".s3-", ".s3.", 1)
	bucket, region, ok := strings.Cut(dotted, ".s3.")
	if !ok {
		return ""
	}
	form := "s3://" + or(path, "BUCKET/KEY")
	if bucket = strings.TrimPrefix(bucket, "."); bucket != "" {
		form = "s3://" + bucket + "/" + or(path, "KEY")
	}
	if region = strings.TrimSuffix(region, "."); region != "" {
		form += "?region=" + region
	}
	return form
}

// or returns s, or instead if s is empty.
func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
