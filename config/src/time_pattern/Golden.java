import java.io.PrintWriter;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TimeZone;
import java.util.TreeMap;
import java.util.TreeSet;

/** Writes the tables beside it: `java Golden.java` in this directory. JDK 17, CLDR, Locale.ENGLISH. */
public class Golden {
    static final String[] INSTANTS = {
        "1970-01-01T00:00:00Z", "2000-02-29T12:00:00.5Z", "2005-01-01T23:59:59.999Z", "2010-01-03T00:00:00.001Z",
        "2018-08-27T10:30:00Z", "2019-12-30T13:05:09.070Z", "2021-01-01T00:00:00Z", "2023-10-29T01:30:00.123Z",
        "2024-12-29T04:45:00Z", "2025-03-30T00:59:59Z", "2025-11-02T06:30:00Z", "2024-07-04T20:15:30.450Z",
    };
    static final String[] PATTERNS = {
        "y", "yy", "yyy", "yyyy", "yyyyy", "u", "uu", "uuu", "uuuu", "Y", "YY", "YYY", "YYYY", "YYYYY",
        "M", "MM", "MMM", "MMMM", "MMMMM", "L", "LL", "LLL", "LLLL", "LLLLL",
        "d", "dd", "D", "DD", "DDD", "H", "HH", "h", "hh", "K", "KK", "k", "kk", "a", "G", "GGGG", "GGGGG",
        "m", "mm", "s", "ss", "S", "SS", "SSS", "SSSSSS", "SSSSSSSSS", "n", "nn", "nnnnnnnnnn", "N", "NN", "NNNNNNNNNNNNNNNN", "A", "AA", "AAAAAAAAAA",
        "E", "EE", "EEE", "EEEE", "EEEEE", "e", "ee", "eee", "eeee", "eeeee", "c", "ccc", "cccc", "ccccc",
        "w", "ww", "W", "Q", "QQ", "QQQ", "QQQQ", "QQQQQ", "q", "qq", "qqq", "qqqq", "qqqqq",
        "yyyy/MM/dd/HH", "yyyy-MM-dd'T'HH:mm:ss.SSS", "'year='yyyy'/month='MM", "h 'o''clock' a", "''yyyy''", "[yyyy][-MM]", "yyyy_MM:dd, .",
        "YYYY-'W'ww-e", "yyyyMMddHHmmss", "'{#}'yyyy", "|~@$%&*()=+\\\"!?;<>^`", "hhmma", "dMMMMyyyy",
    };
    static final String[] ZONED = {
        "Z", "ZZ", "ZZZ", "ZZZZ", "ZZZZZ", "X", "XX", "XXX", "XXXX", "XXXXX", "x", "xx", "xxx", "xxxx", "xxxxx",
        "O", "OOOO", "z", "zz", "zzz", "zzzz", "v", "vvvv", "VV", "yyyy-MM-dd HH:mm:ss e w W Y",
    };
    static final String[] ZONES = {
        "UTC", "GMT", "Etc/GMT+5", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Los_Angeles", "America/St_Johns",
        "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Kiritimati", "America/Sao_Paulo", "Africa/Monrovia",
    };
    static final String[] REFUSED = {
        "b", "yyyy b", "MMMMMM", "ddd", "DDDD", "HHH", "hhh", "aa", "cc", "EEEEEE", "SSSSSSSSSS", "www", "WW", "V", "VVV", "vv", "OO", "XXXXXX",
        "ZZZZZZ", "zzzzz", "yyyyyyyyyyyyyyyyyyyy", "yyyy{", "}", "#", "'yyyy", "yyyy]", "eeeeee", "QQQQQQ", "GGGGGG", "T", "yyyy-MM-ddTHH",
    };

    public static void main(String[] args) throws Exception {
        try (PrintWriter out = new PrintWriter("golden.tsv", "UTF-8")) {
            out.print("zone\tpattern");
            for (String instant : INSTANTS) out.print("\t" + Instant.parse(instant).toEpochMilli());
            out.println();
            for (String pattern : PATTERNS) row(out, "UTC", pattern);
            for (String zone : ZONES) for (String pattern : ZONED) row(out, zone, pattern);
            for (String pattern : REFUSED) {
                try {
                    DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH);
                    throw new RuntimeException("Java takes " + pattern);
                } catch (IllegalArgumentException e) {
                    out.println("refused\t" + pattern);
                }
            }
        }
        zoneNames();
    }

    static void row(PrintWriter out, String zone, String pattern) {
        DateTimeFormatter format = DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH);
        out.print(zone + "\t" + pattern);
        for (String instant : INSTANTS) out.print("\t" + format.format(Instant.parse(instant).atZone(ZoneId.of(zone))));
        out.println();
    }

    /** One line for zones of the same names: standard, daylight, generic (short each), the same long, then the zones. */
    static void zoneNames() throws Exception {
        TreeMap<String, List<String>> byNames = new TreeMap<>();
        for (String id : new TreeSet<>(ZoneId.getAvailableZoneIds())) {
            if (id.startsWith("SystemV/")) continue;
            TimeZone zone = TimeZone.getTimeZone(id);
            StringBuilder names = new StringBuilder();
            for (int style : new int[] {TimeZone.SHORT, TimeZone.LONG}) {
                String generic = style == TimeZone.SHORT ? "v" : "vvvv";
                names.append(zone.getDisplayName(false, style, Locale.ENGLISH)).append('\t');
                names.append(zone.getDisplayName(true, style, Locale.ENGLISH)).append('\t');
                names.append(DateTimeFormatter.ofPattern(generic, Locale.ENGLISH).format(Instant.parse(INSTANTS[4]).atZone(ZoneId.of(id)))).append('\t');
            }
            byNames.computeIfAbsent(names.toString(), k -> new ArrayList<>()).add(id);
        }
        try (PrintWriter out = new PrintWriter("zone_names.tsv", "UTF-8")) {
            byNames.forEach((names, zones) -> out.println(names + String.join(" ", zones)));
        }
    }
}
