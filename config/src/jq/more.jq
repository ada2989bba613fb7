# What jq 1.6 has and jaq lacks, or what jaq does without a budget.

def join($s): reduce .[] as $i (null; (if . == null then "" else . + ($s | charge) end)
  + ($i | if . == null then "" else tostring end | charge)) // "";

def leaf_paths: paths(scalars);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] = ($row | charge));
def INDEX(f): INDEX(.[]; f);
def ascii: [.] | implode;
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;
def finites: select(isfinite);
def @csv: [.[] | if type == "number" or type == "boolean" then tostring
  elif . == null then "" elif type == "string" then "\"" + gsub("\""; "\"\"") + "\""
  else error("\(type) is not valid in a csv row") end] | join(",");
def @tsv: [.[] | if type == "number" or type == "boolean" then tostring
  elif . == null then "" elif type == "string" then gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r")
  else error("\(type) is not valid in a tsv row") end] | join("\t");
