"""wechatpy gets access tokens and phone numbers from the stand-in, and gets over a token that has ended, as it does at WeChat.

    WXGATE_BIN=target/release/wxgate .venv/bin/python tests/sdk/wechatpy/tokens.py
"""

import unittest

from wechatpy.exceptions import WeChatClientException

from stack import APP, SECRET, WECHAT, AtTheStandIn, client_of

TOKEN = "/cgi-bin/token"
STABLE = "/cgi-bin/stable_token"
PHONE = "/wxa/business/getuserphonenumber"


class Tokens(AtTheStandIn):
    def phone_code(self, number, country="86"):
        told = {"appId": APP, "purePhoneNumber": number, "countryCode": country}
        return self.wechat.control("phone_codes", told)["code"]

    def number_of(self, client, code):
        """wechatpy has no name for this call; it is made as all of its calls are."""
        return client.post(PHONE[1:], data={"code": code}, api_base_url=WECHAT + "/")["phone_info"]

    def calls(self):
        return self.wechat.control("calls", method="GET")["endpoints"]

    def assert_refuses(self, errcode, ask):
        with self.assertRaises(WeChatClientException) as caught:
            ask()
        self.assertEqual(caught.exception.errcode, errcode)

    def test_a_token_is_had_once_and_used_again(self):
        client = client_of(self.wechat)
        for number in ["13800000000", "13800000001"]:
            told = self.number_of(client, self.phone_code(number))
            self.assertEqual((told["purePhoneNumber"], str(told["countryCode"])), (number, "86"))
            self.assertEqual(told["watermark"]["appid"], APP)
        self.assertEqual(self.calls(), {TOKEN: 1, PHONE: 2})

    def test_a_token_that_has_ended_is_had_anew(self):
        client = client_of(self.wechat)
        client.fetch_access_token()
        first = client.access_token
        self.wechat.control("tokens", {"appId": APP}, "DELETE")
        self.assertEqual(self.number_of(client, self.phone_code("13800000000"))["purePhoneNumber"], "13800000000")
        self.assertNotEqual(client.access_token, first)
        self.assertEqual(self.calls(), {TOKEN: 2, PHONE: 2})

    def test_each_refusal_has_its_number(self):
        self.assert_refuses(40125, client_of(self.wechat, APP, "another secret").fetch_access_token)
        self.assert_refuses(40013, client_of(self.wechat, "wx0000000000000000", SECRET).fetch_access_token)
        client = client_of(self.wechat)
        self.assert_refuses(40029, lambda: self.number_of(client, "nobody's"))
        self.assert_refuses(40029, lambda: self.number_of(client, self.wechat.code("oAlice")))
        used = self.phone_code("13800000000")
        self.number_of(client, used)
        self.assert_refuses(40029, lambda: self.number_of(client, used))

    def test_the_older_tokens_and_the_stable_ones_do_not_know_each_other(self):
        client = client_of(self.wechat)
        client.fetch_access_token()
        asked = {"grant_type": "client_credential", "appid": APP, "secret": SECRET}

        def ask(**more):
            return client.post(STABLE[1:], data={**asked, **more}, api_base_url=WECHAT + "/")

        stable = ask()
        self.assertEqual(stable["access_token"], ask()["access_token"])
        self.assertNotEqual(stable["access_token"], client.access_token)
        self.assertNotEqual(stable["access_token"], ask(force_refresh=True)["access_token"])
        self.number_of(client, self.phone_code("13800000000"))
        self.assertEqual(self.calls()[TOKEN], 1, "the older one is good as before")

    def test_wechatpy_asks_for_a_token_before_a_login_that_needs_none(self):
        """As in WxJava's issue 1085: then a login fails with the quota of the tokens."""
        client_of(self.wechat).wxa.code_to_session(self.wechat.code("oAlice"))
        self.assertEqual(self.calls(), {TOKEN: 1, "/sns/jscode2session": 1})


if __name__ == "__main__":
    unittest.main(verbosity=2)
