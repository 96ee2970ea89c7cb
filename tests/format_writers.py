"""Writes flights in every format that the importers read."""

import gzip
import itertools
import json
import operator
from functools import reduce

import numpy as np
import pandas as pd

WRITERS = {}


def writer(name):
    def register(function):
        WRITERS[name] = function
        return function

    return register


def seconds(flights):
    return flights["timestamp"].astype("datetime64[ms, UTC]").astype("int64") // 1000


def one(flights):
    return flights[flights["flight_id"] == flights["flight_id"].iloc[0]].reset_index(drop=True)


def write_csv(table, path, **options):
    table.to_csv(path, index=False, **options)
    return path


@writer("opensky")
def write_opensky(flights, folder):
    time = seconds(flights)
    table = pd.DataFrame(
        {
            "time": time,
            "icao24": flights["icao24"],
            "lat": flights["latitude"],
            "lon": flights["longitude"],
            "velocity": flights["groundspeed"] * 1852 / 3600,
            "heading": flights["track"],
            "vertrate": flights["vertical_rate"] * 0.3048 / 60,
            "callsign": flights["callsign"].str.ljust(8),
            "onground": "FALSE",
            "alert": "FALSE",
            "spi": "FALSE",
            "squawk": "",
            "baroaltitude": flights["altitude"] * 0.3048,
            "geoaltitude": flights["geoaltitude"] * 0.3048,
            "lastposupdate": time - 0.5,
            "lastcontact": time - 0.1,
            "hour": time // 3600 * 3600,
        }
    )
    return write_csv(table, folder / "states.csv.gz")


@writer("traffic")
def write_traffic(flights, folder):
    names = ["timestamp", "icao24", "callsign", "latitude", "longitude", "altitude", "groundspeed"]
    table = flights[[*names, "track", "vertical_rate", "flight_id"]].assign(
        typecode=flights["aircraft_type"].str.lower(), TAS=flights["true_airspeed"]
    )
    path = folder / "flights.parquet"
    table.to_parquet(path)
    return path


@writer("prc")
def write_prc(flights, folder):
    table = flights[["flight_id", "timestamp", "longitude", "latitude", "altitude", "groundspeed"]]
    table = table.assign(
        track=flights["track"],
        vertical_rate=flights["vertical_rate"],
        typecode=flights["aircraft_type"],
        TAS=flights["true_airspeed"],
        CAS=flights["calibrated_airspeed"],
        mach=flights["mach"],
        u_component_of_wind=flights["wind_u"] * 1852 / 3600,
        v_component_of_wind=flights["wind_v"] * 1852 / 3600,
        temperature=flights["temperature"],
    )
    path = folder / "2022-01-01.parquet"
    table.to_parquet(path)
    return path


@writer("flights")
def write_flight_list(flights, folder):
    table = flights.drop_duplicates("flight_id")
    table = pd.DataFrame(
        {
            "flight_id": table["flight_id"],
            "callsign": table["callsign"],
            "adep": table["origin"],
            "ades": table["destination"],
            "aircraft_type": table["aircraft_type"],
            "airline": table["operator"],
            "flight_duration": 60,
        }
    )
    return write_csv(table, folder / "challenge_set.csv")


@writer("eurocontrol")
def write_eurocontrol(flights, folder):
    table = pd.DataFrame(
        {
            "ECTRL ID": flights["flight_id"],
            "Sequence Number": flights.groupby("flight_id").cumcount(),
            "Time Over": flights["timestamp"].dt.strftime("%d-%m-%Y %H:%M:%S"),
            "Flight Level": (flights["altitude"] / 100).round().astype(int),
            "Latitude": flights["latitude"],
            "Longitude": flights["longitude"],
        }
    )
    return write_csv(table, folder / "Flight_Points_Actual_20160101_20160131.csv.gz", quoting=2)


@writer("so6")
def write_so6(flights, folder):
    lines = []
    for flight_id, flight in flights.groupby("flight_id", sort=False):
        rows = flight.to_dict("records")
        for number, (begin, end) in enumerate(itertools.pairwise(rows)):
            ends = (begin, end)
            fields = [
                *(f"{begin['origin']}_{begin['destination']}", begin["origin"]),
                *(begin["destination"], begin["aircraft_type"]),
                *(point["timestamp"].strftime("%H%M%S") for point in ends),
                *(round(point["altitude"] / 100) for point in ends),
                *(0, begin["callsign"]),
                *(point["timestamp"].strftime("%y%m%d") for point in ends),
                *(begin["latitude"] * 60, begin["longitude"] * 60),
                *(end["latitude"] * 60, end["longitude"] * 60),
                *(flight_id, number, 1.5, 0),
            ]
            lines.append(" ".join(map(str, fields)))
    path = folder / "20160101_m3.so6"
    path.write_text("\n".join(lines) + "\n")
    return path


@writer("flightradar24")
def write_flightradar24(flights, folder):
    flight = one(flights)
    table = pd.DataFrame(
        {
            "Timestamp": seconds(flight),
            "UTC": flight["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Callsign": flight["callsign"],
            "Position": flight["latitude"].map("{:.6f}".format)
            + ","
            + flight["longitude"].map("{:.6f}".format),
            "Altitude": flight["altitude"].round().astype(int),
            "Speed": flight["groundspeed"].round().astype(int),
            "Direction": flight["track"].round().astype(int),
        }
    )
    return write_csv(table, folder / "AB123_2ce4f83f.csv")


@writer("flightradar24-granular")
def write_granular(flights, folder):
    names = "network_time,receiver_time,hex,callsign,latitude,longitude,no_position,altitude,squawk"
    lines = [names + ",speed,track,vspeed,on_ground,flags,position_class,,,,,"]
    for point in one(flights).to_dict("records"):
        time = point["timestamp"].strftime("%Y-%m-%d %H:%M:%SZ.515")
        position = f"{point['latitude']:.5f},{point['longitude']:.5f},P"
        numbers = f"{point['groundspeed']:.0f},{point['track']:.0f},{point['vertical_rate']:.0f}"
        lines.append(
            f"{time},{time},0x{point['icao24']},{point['callsign']},{position},"
            f"{point['altitude']:.0f},7000,{numbers},A,4,ADS-B,MACH:756,TAS:"
            f"{point['true_airspeed']:.0f},MACH:{point['mach']:.3f},"
            f"OAT:{point['temperature'] - 273.15:.0f} (C),"
        )
    path = folder / "granular.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@writer("flightradar24-playback")
def write_playback(flights, folder):
    flight = one(flights)
    first = flight.iloc[0]
    track = [
        {
            "latitude": point["latitude"],
            "longitude": point["longitude"],
            "altitude": {"feet": round(point["altitude"]), "meters": 0},
            "speed": {"kmh": 0, "kts": round(point["groundspeed"]), "mph": 0},
            "verticalSpeed": {"fpm": round(point["vertical_rate"]), "ms": 0},
            "heading": round(point["track"]),
            "timestamp": int(point["timestamp"].timestamp()),
        }
        for point in flight.to_dict("records")
    ]
    content = {
        "identification": {"id": first["flight_id"], "callsign": first["callsign"]},
        "aircraft": {
            "model": {"code": first["aircraft_type"]},
            "identification": {"modes": first["icao24"].upper(), "registration": None},
        },
        "airline": {"code": {"icao": first["operator"]}},
        "airport": {
            "origin": {"code": {"icao": first["origin"]}},
            "destination": {"code": {"icao": first["destination"]}},
            "real": None,
        },
        "track": track,
    }
    path = folder / "2ce4f83f.json"
    response = {"request": {}, "response": {"timestamp": 1, "data": {"flight": content}}}
    path.write_text(json.dumps({"result": response}))
    return path


@writer("positions")
def write_positions(flights, folder):
    flight = one(flights)
    table = pd.DataFrame(
        {
            "snapshot_id": seconds(flight),
            "altitude": flight["altitude"].round().astype(int),
            "heading": flight["track"].round().astype(int),
            "latitude": flight["latitude"].round(5),
            "longitude": flight["longitude"].round(5),
            "radar_id": 3517,
            "speed": flight["groundspeed"].round().astype(int),
            "squawk": 1000,
        }
    )
    return write_csv(table, folder / f"20160101_{flight['flight_id'].iloc[0]}.csv")


@writer("pru")
def write_pru(flights, folder):
    table = flights[["flight_id", "timestamp", "latitude", "longitude", "altitude"]].assign(
        timestamp=flights["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        speed_gnd=flights["groundspeed"],
        track_gnd=flights["track"],
        vert_speed=flights["vertical_rate"],
        distance_arp=1000.0,
        sequence_number=flights.groupby("flight_id").cumcount(),
    )
    return write_csv(table, folder / "trajectories.csv")


def write_angle(value, width, sides):
    total = round(abs(value) * 3600)
    degrees, rest = divmod(total, 3600)
    return f"{degrees:0{width}d}{rest // 60:02d}{rest % 60:02d}{sides[value < 0]}"


@writer("cpr")
def write_cpr(flights, folder):
    lines = []
    for number, point in enumerate(flights.to_dict("records")):
        time = point["timestamp"].strftime("%y/%m/%d %H:%M:%S")
        position = f"{write_angle(point['latitude'], 2, 'NS')} "
        position += write_angle(point["longitude"], 3, "EW")
        track = round(point["track"] * 3600)
        lines.append(
            f"{number};{point['flight_id']};{time};{time};1;1;96;1;{point['callsign']};"
            f"{point['origin']};{point['destination']};;{position};"
            f"{point['altitude'] / 100:.0f};Continuing;1401;{point['groundspeed']:.0f};"
            f"{track // 3600:03d} {track // 60 % 60:02d}'{track % 60:02d}'';0;CLIMB;;"
            f"{point['icao24'].upper()};"
        )
    path = folder / "1.201601010001ALL_CPR.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


@writer("readsb")
def write_readsb(flights, folder):
    flight = one(flights)
    first, start = flight.iloc[0], flight["timestamp"].iloc[0].timestamp()
    trace = []
    for number, point in enumerate(flight.to_dict("records")):
        towards = np.degrees(np.arctan2(point["wind_u"], point["wind_v"]))
        state = {
            "flight": point["callsign"].ljust(8),
            "tas": point["true_airspeed"],
            "mach": point["mach"],
            "oat": point["temperature"] - 273.15,
            "wd": (towards + 180) % 360,
            "ws": float(np.hypot(point["wind_u"], point["wind_v"])),
        }
        trace.append(
            [
                *(point["timestamp"].timestamp() - start, point["latitude"], point["longitude"]),
                *(round(point["altitude"]), point["groundspeed"], point["track"]),
                *(2 if number == 0 else 0, round(point["vertical_rate"])),
                *(state if number % 4 == 0 else None, "adsb_icao", round(point["geoaltitude"])),
                *(None, None, None),
            ]
        )
    content = {"icao": first["icao24"], "r": "EC-ABC", "t": first["aircraft_type"]}
    content |= {"timestamp": start, "trace": trace}
    path = folder / f"trace_full_{first['icao24']}.json"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


@writer("sbs")
def write_sbs(flights, folder):
    lines = []
    for row in flights.sort_values("timestamp", kind="stable").itertuples():
        moment = f"{row.timestamp:%Y/%m/%d,%H:%M:%S}.000"
        head = f",1,1,{row.icao24.upper()},1,{moment},{moment},"
        motion = f"{row.groundspeed:.0f},{row.track:.0f},,,{row.vertical_rate:.0f}"
        lines += [
            f"MSG,1{head}{row.callsign:<8},,,,,,,,0,0,0,0",
            f"MSG,4{head},,{motion},,0,0,0,0",
            f"MSG,3{head},{row.altitude:.0f},,,{row.latitude:.6f},{row.longitude:.6f},,,0,0,0,0",
            f"MSG,8{head},,,,,,,,,,,0",
        ]
    path = folder / "messages.txt"
    path.write_text("\r\n".join([*lines, ""]))
    return path


@writer("iff")
def write_iff(flights, folder):
    lines, times = [], seconds(flights)
    for number, (_, flight) in enumerate(flights.groupby("flight_id", sort=False), start=1):
        first = flight.iloc[0]
        head = f"{number},4101,12,NCT"
        name = f"{first.callsign},1"
        kind = f"{first.aircraft_type},FIX,GATE,A,{first.origin},{first.destination}"
        lines.append(f"2,{times[flight.index[0]]},{head},,{name},{kind},000000")
        for row in flight.itertuples():
            point = f"{row.latitude:.5f},{row.longitude:.5f},{row.altitude / 100:.2f}"
            motion = f"{row.groundspeed:.0f},{row.track:.0f},{row.vertical_rate:.0f}"
            lines.append(
                f"3,{times[row.Index]}.000,{head},AIG200,{name},{point},10,0.5,0.5,,{motion}"
                f",,,0{',' * 18}{row.icao24},,,,,"
            )
    path = folder / "IFF_NCT_20160101.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


@writer("tfms")
def write_tfms(flights, folder):
    table = pd.DataFrame(
        {
            "FID": flights["flight_id"],
            "Elap_Time": flights["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "Lat": flights["latitude"],
            "Lon": flights["longitude"],
            "Alt": (flights["altitude"] / 100).round().astype(int),
            "DT": 60.0,
            "Speed": flights["groundspeed"] / 3600,
            "Elap_Time_Diff": 0.0,
            "course": np.radians(flights["track"]),
        }
    )
    path = folder / "flight_tracks.csv"
    table.to_csv(path)
    return path


@writer("tfms-plans")
def write_tfms_plans(flights, folder):
    plans = flights.groupby("flight_id", sort=False)[["longitude", "latitude"]].nth([0, 5, 9])
    ids = flights.loc[plans.index, "flight_id"]
    write_csv(
        pd.DataFrame({"FID": ids.unique(), "FLT_PLAN_ID": "FP_" + ids.unique()}),
        folder / "flight_plan_utils.csv",
    )
    table = plans.set_axis(["LONGITUDE", "LATITUDE"], axis=1).assign(FLT_PLAN_ID="FP_" + ids)
    return write_csv(table, folder / "flight_plans.csv")


@writer("garmin")
def write_garmin(flights, folder):
    lines = [
        '#airframe_info, log_version="1.00", airframe_name="Cessna 172S"',
        "#yyy-mm-dd, hh:mm:ss,   hh:mm,  ident,      degrees,      degrees, ft Baro,  inch,"
        "  ft msl, deg C,     kt,     kt,     fpm,",
        "  Lcl Date, Lcl Time, UTCOfst, AtvWpt,     Latitude,    Longitude,    AltB, BaroA,"
        "  AltMSL,   OAT,    IAS, GndSpd,    VSpd,",
    ]
    higher = 145366.45 * (1 - (30.12 / 29.92126) ** 0.190284)
    for point in one(flights).to_dict("records"):
        local = point["timestamp"] + pd.Timedelta(hours=1)
        lines.append(
            f"{local:%Y-%m-%d}, {local:%H:%M:%S},  +01:00,   LEBL, {point['latitude']:12.7f}, "
            f"{point['longitude']:12.7f}, {point['altitude'] - higher:7.1f}, 30.12, "
            f"{point['geoaltitude']:7.1f}, {point['temperature'] - 273.15:5.1f}, "
            f"{point['calibrated_airspeed']:6.2f}, {point['groundspeed']:6.2f}, "
            f"{point['vertical_rate']:7.2f},"
        )
    path = folder / "log_160101_080000_LEMD.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@writer("recorder")
def write_recorder(flights, folder):
    flight = one(flights)
    day = flight["timestamp"].iloc[0].floor("min")
    table = pd.DataFrame(
        {
            "ts": (flight["timestamp"] - day).dt.total_seconds(),
            "alt": flight["altitude"],
            "roc": flight["vertical_rate"],
            "tas": flight["true_airspeed"],
            "sat": flight["temperature"] - 273.15,
            "mach": flight["mach"],
            "alt_gnss": flight["geoaltitude"],
            "lat": flight["latitude"],
            "lon": flight["longitude"],
            "gs": flight["groundspeed"],
            "hdg": flight["heading"],
            "trk": flight["track"],
        }
    )
    start = pd.DataFrame({"ts": [0.0], "lat": [0.0], "lon": [0.0]})
    table = pd.concat([start, table])
    return write_csv(table, folder / f"flight_{day:%Y%m%d_%H%M}.csv")


@writer("recorder-si")
def write_recorder_si(flights, folder):
    table = flights[["longitude", "latitude"]].assign(
        altitude=flights["altitude"] * 0.3048,
        time=flights["timestamp"].dt.tz_localize(None),
        flight_id=flights["flight_id"],
        true_airspeed=flights["true_airspeed"] * 1852 / 3600,
        aircraft_mass=flights["mass"],
        aircraft_type=flights["aircraft_type"],
    )
    return write_csv(table, folder / "fleet.csv")


@writer("spire")
def write_spire(flights, folder):
    table = pd.DataFrame(
        {
            "icao_address": flights["icao24"].str.upper(),
            "time": flights["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "latitude": flights["latitude"],
            "longitude": flights["longitude"],
            "altitude_ft": flights["altitude"].round().astype(int),
            "heading": flights["track"],
            "speed": flights["groundspeed"],
            "on_ground": False,
            "callsign": flights["callsign"],
            "tail_number": "EC-ABC",
            "collection_type": "satellite",
            "aircraft_type_icao": flights["aircraft_type"],
            "airline_iata": "",
        }
    )
    return write_csv(pd.concat([table, table.iloc[::7]]), folder / "spire.csv")


@writer("iagos")
def write_iagos(flights, folder):
    table = flights[["flight_id", "longitude", "latitude", "pressure"]].assign(
        altitude_ft=flights["altitude"],
        time=flights["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S"),
        temperature=flights["temperature"],
    )
    return write_csv(table, folder / "iagos.csv")


@writer("igc")
def write_igc(flights, folder):
    flight = one(flights)
    lines = ["AXXXABC flight recorder", f"HFDTE{flight['timestamp'].iloc[0]:%d%m%y}"]
    lines += ["HFGIDGLIDERID:EC-ABC", "HFDTM100GPSDATUM:WGS-1984"]
    for point in flight.to_dict("records"):
        angles = ""
        for value, width, sides in ((point["latitude"], 2, "NS"), (point["longitude"], 3, "EW")):
            degrees, rest = divmod(round(abs(value) * 60000), 60000)
            angles += f"{degrees:0{width}d}{rest:05d}{sides[value < 0]}"
        heights = (round(point["altitude"] * 0.3048), round(point["geoaltitude"] * 0.3048))
        heights = "".join(f"{height:05d}" for height in heights)
        lines.append(f"B{point['timestamp']:%H%M%S}{angles}A{heights}046")
    path = folder / "61A.igc"
    path.write_text("\r\n".join(lines))
    return path


@writer("kml")
def write_kml(flights, folder):
    flight = one(flights)
    when = "".join(f"<when>{t:%Y-%m-%dT%H:%M:%SZ}</when>\n" for t in flight["timestamp"])
    coordinates = ""
    for point in flight.to_dict("records"):
        height = point["altitude"] * 0.3048
        text = f"{point['longitude']:.5f} {point['latitude']:.5f} {height:.0f}"
        coordinates += f"<gx:coord>{text}</gx:coord>\n"
    path = folder / "track.kml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2" '
        'xmlns:gx="http://www.google.com/kml/ext/2.2"><Document>'
        f"<name>FlightAware ✈ {flight['callsign'].iloc[0]}</name><Placemark><gx:Track>\n"
        f"{when}{coordinates}</gx:Track></Placemark></Document></kml>"
    )
    return path


@writer("gpx")
def write_gpx(flights, folder):
    points = "".join(
        f'<trkpt lat="{point["latitude"]:.6f}" lon="{point["longitude"]:.6f}">'
        f"<ele>{point['altitude'] * 0.3048:.1f}</ele>"
        f"<time>{point['timestamp']:%Y-%m-%dT%H:%M:%S}.000Z</time></trkpt>\n"
        for point in one(flights).to_dict("records")
    )
    path = folder / "track.gpx"
    path.write_text(
        '<?xml version="1.0"?>\n<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<trk><name>flight</name><trkseg>{points}</trkseg></trk></gpx>"
    )
    return path


@writer("opensky-json")
def write_answers(flights, folder):
    answers = []
    for point in flights.to_dict("records"):
        time = int(point["timestamp"].timestamp())
        state = [
            *(point["icao24"], point["callsign"].ljust(8), "Spain", time, time),
            *(point["longitude"], point["latitude"], point["altitude"] * 0.3048, False),
            *(point["groundspeed"] * 1852 / 3600, point["track"]),
            *(point["vertical_rate"] * 0.3048 / 60, None, point["geoaltitude"] * 0.3048),
            *("1000", False, 0),
        ]
        answers.append(json.dumps({"time": time + 3, "states": [state]}))
    path = folder / "states.json"
    path.write_text("\n".join(answers))
    return path


@writer("readsb-snapshots")
def write_snapshots(flights, folder):
    snapshots = []
    for point in flights.to_dict("records"):
        aircraft = {
            "hex": point["icao24"],
            "flight": point["callsign"].ljust(8),
            "alt_baro": point["altitude"],
            "alt_geom": point["geoaltitude"],
            "gs": point["groundspeed"],
            "track": point["track"],
            "baro_rate": point["vertical_rate"],
            "lat": point["latitude"],
            "lon": point["longitude"],
            "seen_pos": 2.5,
            "mlat": [],
        }
        others = [{"hex": "345aaa", "seen": 3.0}]  # without a position
        now = point["timestamp"].timestamp() + 2.5
        snapshots.append(json.dumps({"now": now, "messages": 1, "aircraft": [aircraft, *others]}))
    path = folder / "aircraft.json"
    path.write_text("\n".join(snapshots))
    return path


@writer("flightaware")
def write_flightaware(flights, folder):
    positions = [
        {
            "fa_flight_id": f"{point['callsign']}-1451654525-schedule-0000",
            "altitude": round(point["altitude"] / 100),
            "altitude_change": "-",
            "groundspeed": round(point["groundspeed"]),
            "heading": round(point["track"]),
            "latitude": round(point["latitude"], 5),
            "longitude": round(point["longitude"], 5),
            "timestamp": f"{point['timestamp']:%Y-%m-%dT%H:%M:%SZ}",
            "update_type": "A",
        }
        for point in one(flights).to_dict("records")
    ]
    path = folder / "track.json"
    path.write_text(json.dumps({"actual_distance": 280, "positions": positions}))
    return path


@writer("sfomuseum")
def write_sfomuseum(flights, folder):
    names = ["flight_id", "timestamp", "latitude", "longitude", "altitude", "groundspeed"]
    flights[names].to_parquet(folder / "points.parquet")
    identity = ["callsign", "operator", "aircraft_type", "registration", "origin", "destination"]
    table = flights.drop_duplicates("flight_id").reindex(columns=["flight_id", *identity])
    table.assign(date="2016-01-01").to_parquet(folder / "flights.parquet")
    return folder / "points.parquet"


@writer("sfomuseum-geojson")
def write_sfomuseum_geojson(flights, folder):
    flight = one(flights)
    first, number = flight.iloc[0], 1713084729
    record = {
        "flysfo:journey": f"{first['origin']}-{first['destination']}",
        "flysfo:airline": first["operator"][:2],
        "flysfo:flight_number": first["operator"][:2] + first["callsign"][3:],
        "icao:airline": first["callsign"][:3],
        "icao:aircraft": first["aircraft_type"],
        "swim:tail_number": "EC-ABC",
        "flysfo:date": "2016-01-01",
    }
    (folder / f"{number}.geojson").write_text(json.dumps({"properties": record}))
    properties = {
        "swim:timestamps": seconds(flight).tolist(),
        "swim:altitudes": [f"{altitude / 100:03.0f}C" for altitude in flight["altitude"]],
        "swim:speeds": flight["groundspeed"].round().astype(int).tolist(),
    }
    positions = flight[["longitude", "latitude"]].to_numpy().tolist()
    geometry = {"type": "LineString", "coordinates": positions}
    path = folder / f"{number}-alt-swim-path.geojson"
    path.write_text(json.dumps({"type": "Feature", "properties": properties, "geometry": geometry}))
    return path


@writer("generic")
def write_generic(flights, folder):
    table = flights[["callsign"]].assign(
        time=flights["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S"),
        lat=flights["latitude"],
        lon=flights["longitude"],
        alt_m=flights["altitude"] * 0.3048,
        gs=flights["groundspeed"],
    )
    return write_csv(table, folder / "mine.csv")


@writer("flightradar24-feed")
def write_flightradar24_feed(flights, folder):
    lines = []
    for number, point in flights.assign(time=seconds(flights)).iterrows():
        values = [point["icao24"].upper(), point["latitude"], point["longitude"], point["track"]]
        values += [point["altitude"], point["groundspeed"], "1000", "F-LEMD1"]
        values += [point["aircraft_type"], "EC-ABC", point["time"], "MAD", "BCN", "IB1", 0]
        values += [point["vertical_rate"], point["callsign"], 0, "IBE"]
        lines.append(
            json.dumps({"full_count": 1, "version": 4, f"{number:x}": values, "stats": {}})
        )
    path = folder / "feed.json"
    path.write_text("\n".join(lines))
    return path


@writer("airlabs")
def write_airlabs(flights, folder):
    table = pd.DataFrame(
        {
            "hex": flights["icao24"].str.upper(),
            "reg_number": "EC-ABC",
            "lat": flights["latitude"],
            "lng": flights["longitude"],
            "alt": flights["altitude"] * 0.3048,
            "dir": flights["track"],
            "speed": flights["groundspeed"] * 1.852,
            "v_speed": 0,
            "flight_icao": flights["callsign"],
            "dep_icao": "LEMD",
            "arr_icao": "LEBL",
            "aircraft_icao": flights["aircraft_type"],
            "updated": seconds(flights),
        }
    )
    path = folder / "flights.json"
    path.write_text(json.dumps({"request": {"lang": "en"}, "response": table.to_dict("records")}))
    return path


@writer("aviationstack")
def write_aviationstack(flights, folder):
    records = []
    for point in flights.to_dict("records"):
        live = {
            "updated": point["timestamp"].isoformat(),
            "latitude": point["latitude"],
            "longitude": point["longitude"],
            "altitude": point["altitude"] * 0.3048,
            "direction": point["track"],
            "speed_horizontal": point["groundspeed"] * 1.852,
            "speed_vertical": 0,
            "is_ground": False,
        }
        aircraft = {"registration": "EC-ABC", "icao": "A320", "icao24": point["icao24"].upper()}
        flight = {"number": "1", "icao": point["callsign"], "codeshared": None}
        ends = {"departure": {"iata": "MAD", "icao": "LEMD"}, "arrival": {"icao": "LEBL"}}
        records.append(ends | {"flight": flight, "aircraft": aircraft, "live": live})
    path = folder / "flights.json"
    path.write_text(json.dumps({"pagination": {"limit": 100}, "data": records}))
    return path


@writer("allft")
def write_allft(flights, folder):
    lines = ["2"]
    for key, flight in flights.groupby("flight_id", sort=False):
        first = flight.iloc[0]
        points = []
        for point in flight.to_dict("records"):
            moment = f"{point['timestamp']:%Y%m%d%H%M%S}"
            position = write_angle(point["latitude"], 2, "NS")
            position += write_angle(point["longitude"], 3, "EW")
            points.append(f"{moment}:*MAD:UN10:{point['altitude'] / 100:.0f}:::{position}:0:Y")
        fields = [""] * 190
        fields[:7] = ["LEMD", "LEBL", first["callsign"], "IBE", "A320", "20160101000000", key]
        fields[57], fields[85], fields[113] = "ECABC", points[0], " ".join(points)
        lines.append(";".join(fields))
    path = folder / "20160101.ALL_FT+"
    path.write_text("\n".join(lines))
    return path


@writer("nmea")
def write_nmea(flights, folder):
    lines = []
    for point in one(flights).to_dict("records"):
        time = point["timestamp"]
        position = ""
        for name, digits, letters in (("latitude", 2, "NS"), ("longitude", 3, "EW")):
            minutes = abs(point[name]) * 60
            angle = f"{int(minutes // 60):0{digits}}{minutes % 60:08.5f}"
            position += f"{angle},{letters[int(point[name] < 0)]},"
        motion = f"{point['groundspeed']:.1f},{point['track']:.1f}"
        height = point["geoaltitude"] * 0.3048
        sentences = (
            f"GPRMC,{time:%H%M%S}.00,A,{position}{motion},{time:%d%m%y},,,D",
            f"GPGGA,{time:%H%M%S}.00,{position}2,25,1.00,{height:.1f},M,47.2,M,,",
            f"PGRMZ,{point['altitude']:.0f},f,3",
        )
        lines += [f"${text}*{reduce(operator.xor, text.encode()):02X}" for text in sentences]
    path = folder / "flight.nmea"
    path.write_text("\n".join(lines))
    return path


REPORTS = "Tail;DateUTC;TimeUTC;Pos N;Pos E;Lvl;V kmh"


def write_reports(flights, path):
    """Write position reports by tail number, without an id of the flight."""

    def arc(values, width, letters):
        minutes = (values.abs() * 6000).round().astype(int)
        degrees = (minutes // 6000).astype("str").str.zfill(width)
        fraction = (minutes % 6000 / 100).map("{:05.2f}".format)
        return degrees + " " + fraction + " " + np.where(values < 0, letters[1], letters[0])

    columns = [
        "N" + flights["icao24"].astype("str"),
        flights["timestamp"].dt.strftime("%d.%m.%Y"),
        flights["timestamp"].dt.strftime("%H:%M:%S"),
        arc(flights["latitude"], 2, "NS"),
        arc(flights["longitude"], 3, "EW"),
        (flights["altitude"] / 100).round().astype(int).astype("str").str.zfill(3),
        (flights["groundspeed"] * 1.852).round().astype(int),
    ]
    table = dict(zip(REPORTS.split(";"), columns, strict=True))
    return write_csv(pd.DataFrame(table), path, sep=";")
